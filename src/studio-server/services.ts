import type { CheckpointSaver } from "../../checkpoints/saver.ts";
import type { Pool } from "../db.ts";
import type { Models } from "../models/models.ts";
import type { Registry } from "../registry.ts";
import type { Log } from "../telemetry/log.ts";

/** What Studio's routes are lent. */
export type StudioServices = {
  /** Its connections can write nothing: Postgres refuses. */
  readonly reads: Pool;
  /** Reads through `reads`. */
  readonly saver: CheckpointSaver;
  readonly registry: Registry;
  readonly models: Models;
  readonly log: Log;
  /** The one tenant whose runs are shown. Absent: all of them. */
  readonly tenant_id: string | undefined;
};
