import { z } from "zod";
import type { CallReport } from "./node-report.ts";

const Asked = z.object({ messages: z.array(z.object({ role: z.string(), content: z.unknown() })) });
const Answered = z.object({
  choices: z.array(
    z.object({
      message: z.object({
        content: z.string().nullish(),
        tool_calls: z
          .array(z.object({ function: z.object({ name: z.string(), arguments: z.string() }) }))
          .nullish(),
      }),
    }),
  ),
});

/** The longest body of another kind that is shown. */
const longest = 2_000;

/** A call with its prompt and its answer, whole where it is a chat; nothing where its bodies are not there. */
export function traceText({
  model,
  from,
  ms,
  tokens_in,
  tokens_out,
  request,
  response,
}: CallReport): readonly string[] {
  if (request === undefined) return [];
  return [
    `call of ${model} (${from}, ${Math.round(ms)} ms, ${tokens_in} tokens in, ${tokens_out} out)`,
    ...askedText(request).flatMap(indented),
    ...answeredText(response).flatMap(indented),
  ];
}

function askedText(request: unknown): readonly string[] {
  const { data } = Asked.safeParse(request);
  if (!data) return [`asked: ${cut(request)}`];
  return data.messages.map(
    ({ role, content }) => `${role}: ${typeof content === "string" ? content : cut(content)}`,
  );
}

function answeredText(response: unknown): readonly string[] {
  const { data } = Answered.safeParse(response);
  if (!data) return [`answer: ${cut(response)}`];
  return data.choices.flatMap(({ message: { content, tool_calls } }) => [
    ...(content ? [`answer: ${content}`] : []),
    ...(tool_calls ?? []).map(({ function: called }) => `answer: ${called.name}(${called.arguments})`),
  ]);
}

function indented(text: string): readonly string[] {
  return text.split("\n").map((line) => `  ${line}`);
}

function cut(value: unknown): string {
  const written = JSON.stringify(value) ?? "";
  return written.length > longest ? `${written.slice(0, longest)}… (${written.length} characters)` : written;
}
