import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{test,graphs,checkpoints}/**/*.test.ts"],
    globalSetup: "test/support/postgres.ts",
    pool: "forks",
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
