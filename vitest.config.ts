import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{test,graphs,checkpoints,src/new/template}/**/*.test.ts"],
    globalSetup: "test/support/postgres.ts",
    pool: "forks",
    // Most of a test waits for Postgres or another process: by itself vitest would leave one of two processors idle.
    maxWorkers: Math.min(availableParallelism(), 4),
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
