/**
 * Starts LangGraph's dev server on langgraph.json, for LangGraph Studio: on this machine only, without opening a
 * browser and without usage statistics. Options go through: `npm run studio -- --port 8123`.
 */
process.env.LANGGRAPH_CLI_NO_ANALYTICS = "1";
process.argv.splice(2, 0, "dev", "--host", "127.0.0.1", "--no-browser");
await import("@langchain/langgraph-cli/dist/cli/cli.mjs");
