import { messageOf } from "../errors.ts";
import {
  eventsPast,
  isAfter,
  newestPosition,
  type PlacedEvent,
  type Position,
  positionOf,
} from "../store/events.ts";
import type { Log } from "../telemetry/log.ts";
import type { Services } from "./services.ts";
import type { Stream } from "./stream.ts";

export type Following = {
  readonly tenant_id: string;
  /** The id of the last event that is known already. Defaults to the newest one. */
  readonly after?: number | undefined;
  /** The names of the events to be told of. Defaults to all. */
  readonly names?: readonly string[] | undefined;
};

export type Feeds = {
  /** Opens a stream and sends a tenant's events to it as they come, until it ends. */
  follow(following: Following, open: () => Stream): Promise<void>;
  /** The tenants whose events are looked at, as somebody follows them. */
  readonly tenants: readonly string[];
};

export type FeedOptions = {
  /** Milliseconds from one look at a tenant's events to the next. Defaults to 250. */
  readonly everyMs?: number;
};

/** The events of tenants as they come: each tenant's are read once, for all who follow them. */
export function openFeeds(
  { pool, log }: Pick<Services, "pool" | "log">,
  { everyMs = 250 }: FeedOptions = {},
): Feeds {
  const feeds = new Map<string, Feed>();
  const feedOf = (tenant_id: string, told: Position) => {
    const read = (past: Position, limit: number) => eventsPast(pool, tenant_id, past, limit);
    const close = () => feeds.delete(tenant_id);
    const feed = feeds.get(tenant_id) ?? new Feed({ read, close, log, everyMs }, told);
    feeds.set(tenant_id, feed);
    return feed;
  };
  return {
    async follow({ tenant_id, after, names }, open) {
      const newest = await newestPosition(pool, tenant_id);
      const from = after === undefined ? newest : await positionOf(pool, tenant_id, after);
      const stream = open();
      feedOf(tenant_id, newest).join(stream, from, names);
    },
    get tenants() {
      return [...feeds.keys()];
    },
  };
}

const pageSize = 100;
const firstPage = 10;

type Source = {
  read(past: Position, limit: number): Promise<readonly PlacedEvent[]>;
  close(): void;
  readonly log: Log;
  readonly everyMs: number;
};

/** One tenant's events. It looks for new ones while somebody follows it, and then closes for good. */
class Feed {
  /** Who is not behind was told of all that comes before this, and of this. */
  told: Position;
  readonly source: Source;
  readonly #followers = new Set<Follower>();
  #timer: NodeJS.Timeout;

  constructor(source: Source, told: Position) {
    this.source = source;
    this.told = told;
    this.#timer = this.#lookIn(source.everyMs);
  }

  join(stream: Stream, from: Position, names: readonly string[] | undefined): void {
    const follower = new Follower(this, stream, from, names);
    this.#followers.add(follower);
    stream.signal.addEventListener("abort", () => this.#leave(follower), { once: true });
    void follower.catchUp();
  }

  #leave(follower: Follower): void {
    this.#followers.delete(follower);
    if (this.#followers.size > 0) return;
    clearTimeout(this.#timer);
    this.source.close();
  }

  #lookIn(ms: number): NodeJS.Timeout {
    this.#timer = setTimeout(() => this.#look(), ms);
    return this.#timer;
  }

  async #look(): Promise<void> {
    try {
      const events = await this.source.read(this.told, pageSize);
      this.told = events.at(-1) ?? this.told;
      for (const follower of this.#followers) follower.take(events);
      if (this.#followers.size > 0) this.#lookIn(events.length < pageSize ? this.source.everyMs : 0);
    } catch (error) {
      for (const follower of this.#followers) follower.fail(error);
    }
  }
}

/** One client. While it is behind, it reads by itself as fast as its client does, and delays no one. */
class Follower {
  readonly #stream: Stream;
  readonly #feed: Feed;
  readonly #names: readonly string[] | undefined;
  #at: Position;
  #behind = true;
  #placeIsSent = true;
  /** How many events it reads at once: as many as its client took of the last ones, so that few are left over. */
  #page = firstPage;

  constructor(feed: Feed, stream: Stream, from: Position, names: readonly string[] | undefined) {
    this.#feed = feed;
    this.#stream = stream;
    this.#at = from;
    this.#names = names;
    stream.send({ id: from.id }); // so that a client that is cut off before the first event misses none
  }

  /** Sends what the feed has found, unless it is behind; where the client cannot take it all, it is behind. */
  take(events: readonly PlacedEvent[]): void {
    if (this.#behind) return;
    for (const event of events) {
      if (this.#stream.full) return void this.catchUp();
      this.#send(event);
    }
    this.#sendPlace();
  }

  /** Reads on until it has sent all that the others were told of. */
  async catchUp(): Promise<void> {
    this.#behind = true;
    try {
      do await this.#readOn();
      while (isAfter(this.#feed.told, this.#at) && !this.#stream.signal.aborted);
      this.#behind = false;
    } catch (error) {
      this.fail(error);
    }
  }

  /** Ends the stream. Its client comes back with the last id that it got, and learns what is the matter. */
  fail(error: unknown): void {
    this.#stream.end();
    this.#feed.source.log.warn({ error: messageOf(error) }, "stream-cut-off");
  }

  /** Reads once there is room. What its client does not take is read again then: kept, it would fill the memory. */
  async #readOn(): Promise<void> {
    await this.#stream.room();
    const { told } = this.#feed;
    const events = await this.#feed.source.read(this.#at, this.#page);
    const sent = this.#sendUntilFull(events);
    this.#page = sent < events.length ? Math.max(1, sent) : Math.min(2 * this.#page, pageSize);
    this.#sendPlace();
    if (events.length === 0 && isAfter(told, this.#at)) this.#at = told; // what was told is gone
  }

  #sendUntilFull(events: readonly PlacedEvent[]): number {
    for (const [nth, event] of events.entries()) {
      if (this.#stream.full) return nth;
      this.#send(event);
    }
    return events.length;
  }

  #send(event: PlacedEvent): void {
    if (!isAfter(event, this.#at)) return;
    this.#at = event;
    this.#placeIsSent = this.#wants(event);
    if (this.#placeIsSent) this.#stream.send({ id: event.id, event: event.event, data: withoutPlace(event) });
  }

  /** Who wants few events goes on from here nevertheless, and not from the last that it got. */
  #sendPlace(): void {
    if (!this.#placeIsSent) this.#stream.send({ id: this.#at.id });
    this.#placeIsSent = true;
  }

  #wants({ event }: PlacedEvent): boolean {
    return this.#names === undefined || this.#names.includes(event);
  }
}

function withoutPlace({ transaction_id: _, ...event }: PlacedEvent): Omit<PlacedEvent, "transaction_id"> {
  return event;
}
