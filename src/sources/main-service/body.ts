import { Malformed } from "./malformed.ts";

/** An answer's body is larger than is read. */
export class BodyTooLarge extends Malformed {
  constructor(most: number) {
    super(`expected a body of at most ${most} bytes`);
  }
}

/** The whole body, decompressed. Of one that is larger than `most` bytes no more than that is read: BodyTooLarge. */
export async function readBody({ headers, body }: Response, most: number): Promise<Buffer<ArrayBuffer>> {
  if (body === null) return Buffer.alloc(0);
  if (Number(headers.get("content-length")) > most) {
    await body.cancel();
    throw new BodyTooLarge(most);
  }
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.byteLength;
    if (size > most) throw new BodyTooLarge(most);
    parts.push(part);
  }
  return Buffer.concat(parts, size);
}
