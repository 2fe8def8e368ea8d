/** What happens while a graph runs, told in the order in which it happens. */
export type Step =
  | { readonly kind: "node-started"; readonly task: string; readonly node: string }
  | {
      readonly kind: "node-ended";
      readonly task: string;
      readonly node: string;
      readonly ms: number;
      /** What it wrote, by field of the state. */
      readonly wrote: Readonly<Record<string, unknown>>;
      /** The state that it began with. */
      readonly before: Readonly<Record<string, unknown>>;
      /** What it asked of a person. */
      readonly questions: readonly unknown[];
      readonly failed: boolean;
    }
  | {
      readonly kind: "branched";
      /** The node after which the ways part. */
      readonly node: string;
      /** The fields of the state that decided, with their values. */
      readonly looked: Readonly<Record<string, unknown>>;
      readonly to: readonly Target[];
    };

/** Where a branch leads; `times` counts the tasks that were sent there. */
export type Target = { readonly node: string; readonly times: number };
