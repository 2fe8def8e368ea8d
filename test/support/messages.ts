/** A message of Postgres's protocol: its type, a letter or none in the first of a connection, and all its bytes. */
export type Message = { readonly type: string; readonly bytes: Buffer };

/**
 * Splits what comes over a connection into messages, whatever pieces it comes in. The first `untyped` of them have no
 * letter. Source: PostgreSQL 18, "Frontend/Backend Protocol", section "Overview of Messages".
 */
export function messages(read: (message: Message) => void, { untyped = 0 } = {}): (bytes: Buffer) => void {
  let [rest, left] = [Buffer.alloc(0), untyped];
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    for (;;) {
      const message = firstOf(rest, left > 0 ? 0 : 1);
      if (!message) return;
      left -= 1;
      rest = rest.subarray(message.bytes.length);
      read(message);
    }
  };
}

function firstOf(bytes: Buffer, letters: number): Message | undefined {
  if (bytes.length < letters + 4) return undefined;
  const length = letters + bytes.readInt32BE(letters);
  if (bytes.length < length) return undefined;
  return { type: bytes.toString("latin1", 0, letters), bytes: bytes.subarray(0, length) };
}

/** What a statement says, for people: its text where the message has it, else what kind of message it is. */
export function textOf({ type, bytes }: Message): string {
  const texts = bytes.toString("utf8", 5).split("\0");
  const text = type === "Q" ? texts[0] : type === "P" ? texts[1] : undefined;
  return (text ?? `(${type} ${texts[1] ?? ""})`).replace(/\s+/g, " ").trim();
}
