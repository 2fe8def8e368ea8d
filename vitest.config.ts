import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{test,graphs,checkpoints,src/new/template}/**/*.test.ts"],
    globalSetup: "test/support/postgres.ts",
    pool: "forks",
    // Most of a test waits for Postgres or another process: by itself vitest would leave one of two processors idle.
    maxWorkers: Math.min(availableParallelism(), 4),
    // Only to end what hangs: tests that start whole processes take 13 s on two cores, and twice that on a busy machine.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
