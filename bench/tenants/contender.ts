/** A job has begun: which, of whom, and when, by `performance.now()`. */
export type OnBegun = (id: string, tenant: string) => void;

export type Worked = { readonly stop: () => Promise<void> };

export type Working = {
  readonly slots: number;
  /** How long each job takes, in milliseconds. */
  readonly ms: number;
  readonly onBegun: OnBegun;
};

/** A queue that shares its slots out between tenants, with the settings that serve it best and are durable. */
export type Contender = {
  readonly name: string;
  readonly settings: string;
  /** Makes so many jobs of one tenant, a thousand to a statement; gives the id of one that is alone. */
  add(tenant: string, count: number): Promise<string>;
  /** Works on all there is until it is stopped. */
  work(working: Working): Promise<Worked>;
  /** Forgets all jobs, so that no round pays for the one before. */
  forget(): Promise<void>;
  end(): Promise<void>;
};

const page = 1_000;

/** The sizes of the pages that make up `count`. */
export function pages(count: number): readonly number[] {
  return Array.from({ length: Math.ceil(count / page) }, (_, nth) => Math.min(page, count - nth * page));
}
