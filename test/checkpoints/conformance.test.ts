import { deltaChannelHistoryTests, validate } from "@langchain/langgraph-checkpoint-validation";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { CheckpointSaver } from "../../checkpoints/saver.ts";
import { CheckpointWriter } from "../../checkpoints/writer.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

// LangGraph's own conformance suite for checkpointers, whole.

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

const ours = {
  checkpointerName: "CheckpointSaver",
  createCheckpointer: () => new CheckpointSaver(new CheckpointWriter(database.pool)),
  async destroyCheckpointer(): Promise<void> {
    await database.pool.query("truncate checkpoints, checkpoint_blobs, checkpoint_writes");
  },
};

// The suite takes the runner's functions from the global scope.
Object.assign(globalThis, { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it });
validate(ours);
deltaChannelHistoryTests(ours);
