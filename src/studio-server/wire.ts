import { BaseMessage } from "@langchain/core/messages";
import type { StateSnapshot } from "@langchain/langgraph";
import { messageOf } from "../errors.ts";

type Config = { readonly configurable?: Readonly<Record<string, unknown>> | undefined };

/** A place in a thread, as LangGraph's clients name it. */
export type WireCheckpoint = {
  readonly thread_id: string;
  readonly checkpoint_ns: string;
  readonly checkpoint_id: string | null;
  readonly checkpoint_map: unknown;
};

/** A thread's state, as LangGraph's clients read it. */
export type WireState = {
  readonly values: unknown;
  readonly next: readonly string[];
  readonly tasks: readonly WireTask[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly created_at: string | null;
  readonly checkpoint: WireCheckpoint | null;
  readonly parent_checkpoint: WireCheckpoint | null;
};

export type WireTask = {
  readonly id: string;
  readonly name: string;
  readonly path: unknown;
  readonly error: string | null;
  readonly interrupts: readonly unknown[];
  readonly result: unknown;
  readonly checkpoint: WireCheckpoint | null;
  readonly state: WireState | null;
};

export function wireState(snapshot: StateSnapshot): WireState {
  return {
    values: wireValue(snapshot.values),
    next: snapshot.next,
    tasks: snapshot.tasks.map(wireTask),
    metadata: { ...snapshot.metadata },
    created_at: snapshot.createdAt ?? null,
    checkpoint: wireCheckpoint(snapshot.config),
    parent_checkpoint: wireCheckpoint(snapshot.parentConfig),
  };
}

function wireTask(task: StateSnapshot["tasks"][number]): WireTask {
  const { state } = task;
  return {
    id: task.id,
    name: task.name,
    path: task.path ?? [],
    error: task.error === undefined || task.error === null ? null : messageOf(task.error),
    interrupts: task.interrupts,
    result: wireValue(task.result ?? null),
    checkpoint: state === undefined ? null : wireCheckpoint("config" in state ? state.config : state),
    state: state !== undefined && "values" in state ? wireState(state) : null,
  };
}

/** Where a config points to in its thread, or null where it points nowhere. */
export function wireCheckpoint(config: Config | undefined): WireCheckpoint | null {
  const { thread_id, checkpoint_ns, checkpoint_id, checkpoint_map } = config?.configurable ?? {};
  if (thread_id === undefined) return null;
  return {
    thread_id: String(thread_id),
    checkpoint_ns: String(checkpoint_ns ?? ""),
    checkpoint_id: checkpoint_id === undefined ? null : String(checkpoint_id),
    checkpoint_map: checkpoint_map ?? null,
  };
}

/** A value with the messages of chats as clients read them, however deep they lie. */
export function wireValue(value: unknown): unknown {
  if (BaseMessage.isInstance(value)) {
    const { type, data } = value.toDict();
    return { ...data, type };
  }
  if (Array.isArray(value)) return value.map(wireValue);
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype)
    return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, wireValue(inner)]));
}
