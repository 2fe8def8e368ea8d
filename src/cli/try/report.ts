import type { ModelCall } from "../../models/calls.ts";
import type { Usage } from "../../pipeline.ts";
import type { Step } from "../../try/steps.ts";
import type { CallReport, NodeReport, Total } from "./node-report.ts";
import { nodeText } from "./text.ts";

type Ended = Extract<Step, { kind: "node-ended" }>;
type Branched = Extract<Step, { kind: "branched" }>;

/** Gathers what happens while a graph runs, and says it of each node as it ends. */
export class Report {
  readonly nodes: NodeReport[] = [];
  readonly #began = performance.now();
  readonly #say: (text: string) => void;
  readonly #trace: boolean;
  #calls: ModelCall[] = [];
  #branches: Branched[] = [];

  constructor(say: (text: string) => void, trace: boolean) {
    this.#say = say;
    this.#trace = trace;
  }

  called(call: ModelCall): void {
    this.#calls.push(call);
  }

  step(step: Step): void {
    if (step.kind === "branched") this.#branches.push(step);
    if (step.kind === "node-ended") this.#end(step);
  }

  total({ model_calls, embedding_calls, tokens_in, tokens_out, embedding_tokens, cost_usd }: Usage): Total {
    const ms = Math.round(performance.now() - this.#began);
    return { ms, model_calls, embedding_calls, tokens_in, tokens_out, embedding_tokens, cost_usd };
  }

  /** Of several at once of one node, the first that ends shows the calls that were answered until then. */
  #end({ kind: _, task: __, before, ...ended }: Ended): void {
    const calls = this.#calls.filter(({ node }) => node === ended.node);
    this.#calls = this.#calls.filter(({ node }) => node !== ended.node);
    const branches = this.#branches.filter(({ node }) => node === ended.node);
    this.#branches = this.#branches.filter(({ node }) => node !== ended.node);
    const node = {
      ...ended,
      ms: Math.round(ended.ms),
      calls: calls.map((call) => this.#shown(call)),
      branches: branches.map(({ looked, to }) => ({ looked, to })),
    };
    this.nodes.push(node);
    this.#say(nodeText(node, this.nodes.length, before));
  }

  #shown({ request, response, node: _, ...call }: ModelCall): CallReport {
    return this.#trace ? { ...call, request, response } : call;
  }
}
