import { randomUUID } from "node:crypto";
import { Annotation, Command, END, interrupt, Send, START, StateGraph } from "@langchain/langgraph";
import { MemorySaver } from "@langchain/langgraph-checkpoint";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import { beforeAll, describe, expect, test } from "vitest";
import { type OpenSaver, openCheckpointSaver } from "../../checkpoints/saver.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

// What people do with LangGraph's checkpoints, on ours, outside a worker.

let database: TestDatabase;
let saver: OpenSaver;
beforeAll(async () => {
  database = await testDatabase();
  saver = openCheckpointSaver(database.url);
  return () => saver.end();
});

const thread = () => ({ configurable: { thread_id: randomUUID() } });

const Words = Annotation.Root({
  words: Annotation<string[]>({ reducer: (said, more) => [...said, ...more], default: () => [] }),
});

/** Says one, two, three; before two it does what `two` says. */
const counting = (two: () => string = () => "two") =>
  new StateGraph(Words)
    .addNode("first", () => ({ words: ["one"] }))
    .addNode("second", () => ({ words: [two()] }))
    .addNode("third", () => ({ words: ["three"] }))
    .addEdge(START, "first")
    .addEdge("first", "second")
    .addEdge("second", "third")
    .addEdge("third", END);

test.each(["async", "sync", "exit"] as const)(
  "a graph ends where it would, with durability %s",
  async (durability) => {
    const graph = counting().compile({ checkpointer: saver });
    const config = thread();
    await graph.invoke({ words: ["zero"] }, { ...config, durability });

    expect((await graph.getState(config)).values).toEqual({ words: ["zero", "one", "two", "three"] });
  },
);

test("an interrupted graph goes on with the answer that it is given", async () => {
  const graph = counting(() => interrupt("what comes after one?")).compile({ checkpointer: saver });
  const config = thread();
  await graph.invoke({ words: [] }, config);
  const waiting = await graph.getState(config);
  const answered = await graph.invoke(new Command({ resume: "two, of course" }), config);

  expect(waiting.tasks[0]?.interrupts[0]?.value).toBe("what comes after one?");
  expect(answered).toEqual({ words: ["one", "two, of course", "three"] });
});

test("a graph that failed goes on with what had succeeded beside the failure", async () => {
  let [calls, fail] = [0, true];
  const graph = new StateGraph(Words)
    .addNode("good", () => {
      calls++;
      return { words: ["good"] };
    })
    .addNode("bad", async () => {
      await new Promise(setImmediate);
      if (fail) throw new Error("not yet");
      return { words: ["bad"] };
    })
    .addEdge(START, "good")
    .addEdge(START, "bad")
    .compile({ checkpointer: saver });
  const config = thread();
  await expect(graph.invoke({ words: [] }, config)).rejects.toThrow("not yet");
  fail = false;
  const ended = await graph.invoke(null, config);

  expect(ended.words.toSorted()).toEqual(["bad", "good"]);
  expect(calls).toBe(1);
});

test("tasks that were sent side by side are applied in the order in which they were sent", async () => {
  const graph = (checkpointer: OpenSaver | MemorySaver) =>
    new StateGraph(Words)
      .addNode("visit", async ({ words }: { words: string[] }) => {
        await new Promise((resolve) => setTimeout(resolve, words[0] === "a" ? 10 : 0));
        return { words };
      })
      .addNode("stop", () => ({ words: [String(interrupt("go on?"))] }))
      .addConditionalEdges(START, () => ["a", "b", "c"].map((word) => new Send("visit", { words: [word] })), [
        "visit",
      ])
      .addEdge("visit", "stop")
      .compile({ checkpointer });
  const endOf = async (checkpointer: OpenSaver | MemorySaver) => {
    const config = thread();
    await graph(checkpointer).invoke({ words: [] }, config);
    return await graph(checkpointer).invoke(new Command({ resume: "yes" }), config);
  };

  expect(await endOf(saver)).toEqual({ words: ["a", "b", "c", "yes"] });
  expect(await endOf(saver)).toEqual(await endOf(new MemorySaver()));
});

test("what tasks wrote is given back in the order of their paths", async () => {
  const config = thread();
  const id = "1f000000-0000-6000-8000-000000000001";
  const checkpoint = { v: 4, id, ts: "", channel_values: {}, channel_versions: {}, versions_seen: {} };
  await saver.put(config, checkpoint, { source: "loop", step: 0, parents: {} }, {});
  const at = { configurable: { ...config.configurable, checkpoint_ns: "", checkpoint_id: id } };
  const paths = ["~__pregel_pull, 00000002", "", "~__pregel_pull, 00000001"];
  for (const [nth, path] of paths.entries()) await saver.putWrites(at, [["words", path]], `${3 - nth}`, path);
  const tuple = await saver.getTuple(config);

  expect(tuple?.pendingWrites?.map(([, , value]) => value)).toEqual(paths.toSorted());
});

test("a subgraph keeps its own state, and its interrupt reaches the whole", async () => {
  const inner = new StateGraph(Words)
    .addNode("ask", () => ({ words: [String(interrupt("inner?"))] }))
    .addNode("tell", () => ({ words: ["told"] }))
    .addEdge(START, "ask")
    .addEdge("ask", "tell")
    .compile();
  const graph = new StateGraph(Words)
    .addNode("inner", inner)
    .addNode("last", () => ({ words: ["last"] }))
    .addEdge(START, "inner")
    .addEdge("inner", "last")
    .compile({ checkpointer: saver });
  const config = thread();
  await graph.invoke({ words: [] }, config);
  const state = await graph.getState(config, { subgraphs: true });
  const ended = await graph.invoke(new Command({ resume: "yes" }), config);

  expect(state.tasks[0]?.state).toMatchObject({ next: ["ask"] });
  expect(ended).toEqual({ words: ["yes", "told", "last"] });
});

test("a node that runs out of time leaves what was finished before it", async () => {
  let slow = true;
  const graph = new StateGraph(Words)
    .addNode("first", () => ({ words: ["one"] }))
    .addNode("second", async (_, { signal }) => {
      if (slow)
        await new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
      return { words: ["two"] };
    })
    .addEdge(START, "first")
    .addEdge("first", "second")
    .compile({ checkpointer: saver });
  const config = thread();
  await expect(graph.invoke({ words: [] }, { ...config, timeout: 100 })).rejects.toThrow(/abort|time/i);
  slow = false;

  expect(await graph.invoke(null, config)).toEqual({ words: ["one", "two"] });
});

describe("the history of a thread", () => {
  async function ended() {
    const graph = counting().compile({ checkpointer: saver });
    const config = thread();
    await graph.invoke({ words: [] }, config);
    return { graph, config, history: await Array.fromAsync(graph.getStateHistory(config)) };
  }

  test("has every step, the newest first", async () => {
    const { history } = await ended();

    expect(history.map(({ values }) => values.words)).toEqual([
      ["one", "two", "three"],
      ["one", "two"],
      ["one"],
      [],
      [],
    ]);
  });

  test("is read a page at a time, whole and bounded", async () => {
    const config = thread();
    const graph = counting().compile({ checkpointer: saver });
    for (let nth = 0; nth < 12; nth++) await graph.invoke({ words: [] }, config);
    const listed = async (limit?: number) =>
      (await Array.fromAsync(saver.list(config, limit === undefined ? {} : { limit }))).map(
        ({ checkpoint }) => checkpoint.id,
      );
    const all = await listed();

    expect(all).toHaveLength(60);
    expect(all).toEqual([...new Set(all)].toSorted().toReversed());
    expect(await listed(55)).toEqual(all.slice(0, 55));
  });

  test("can be edited: the graph goes on from the new state", async () => {
    const { graph, config } = await ended();
    await graph.updateState(config, { words: ["edited"] }, "first");

    expect(await graph.invoke(null, config)).toEqual({
      words: ["one", "two", "three", "edited", "two", "three"],
    });
  });

  test("forks from an earlier checkpoint, and the branches do not take each other's values", async () => {
    const { graph, config, history } = await ended();
    const afterOne = history[2]?.config ?? {};
    const branch = async (word: string) => {
      const forked = await graph.updateState(afterOne, { words: [word] }, "second");
      await graph.invoke(null, forked);
      return forked;
    };
    const [left, right] = [await branch("left"), await branch("right")];

    expect((await graph.getState(left)).values).toEqual({ words: ["one", "left"] });
    expect((await graph.getState(right)).values).toEqual({ words: ["one", "right"] });
    expect((await graph.getState(config)).values).toEqual({ words: ["one", "right", "three"] });
    const original = history[0]?.config ?? {};
    expect((await graph.getState(original)).values).toEqual({ words: ["one", "two", "three"] });
  });
});

describe("LangGraph's own PostgresSaver", () => {
  const official = () => new PostgresSaver(database.pool, undefined, { schema: "loregraph" });
  const asking = () => counting(() => interrupt("what comes after one?"));

  test.each([
    ["reads what ours wrote, and goes on", () => [saver, official()] as const],
    ["wrote what ours reads and goes on with", () => [official(), saver] as const],
  ])("%s", async (_, both) => {
    const [first, second] = both();
    const config = thread();
    await asking()
      .compile({ checkpointer: first })
      .invoke({ words: ["“Ünïcode” 小说"] }, config);
    const graph = asking().compile({ checkpointer: second });
    const seen = await Array.fromAsync(graph.getStateHistory(config));
    const ended = await graph.invoke(new Command({ resume: "two" }), config);
    const read = await asking().compile({ checkpointer: first }).getState(config);

    expect(seen.map(({ values }) => values.words)).toEqual([
      ["“Ünïcode” 小说", "one"],
      ["“Ünïcode” 小说"],
      [],
    ]);
    expect(ended).toEqual({ words: ["“Ünïcode” 小说", "one", "two", "three"] });
    expect(read.values).toEqual(ended);
  });

  test("finds nothing left to set up, however many ask at once", async () => {
    await Promise.all(Array.from({ length: 4 }, () => official().setup()));
    const { rows } = await database.pool.query(
      "select array_agg(v order by v) as versions from checkpoint_migrations",
    );

    expect(rows[0].versions).toEqual([0, 1, 2, 3, 4]);
  });

  test("makes the same tables, but for the column that keeps the order of writes", async () => {
    await new PostgresSaver(database.pool, undefined, { schema: "theirs" }).setup();
    const { rows } = await database.pool.query(`
      select table_name, column_name, data_type, is_nullable, column_default
      from information_schema.columns where table_schema = 'loregraph' and table_name like 'checkpoint%'
      except
      select table_name, column_name, data_type, is_nullable, column_default
      from information_schema.columns where table_schema = 'theirs'`);

    expect(rows.map(({ column_name }) => column_name)).toEqual(["task_path"]);
  });
});
