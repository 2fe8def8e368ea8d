import { styleText } from "node:util";

export type Progress = {
  /** `done` of `total`; a total that is not known yet is 0. */
  update(done: number, total: number, note?: string): void;
  /** Leaves the last state standing. */
  end(): void;
};

const width = 28;

/** Progress on stderr: a live bar on a terminal, a plain line every two seconds elsewhere. */
export function progressOf(what: string, stream: NodeJS.WriteStream = process.stderr): Progress {
  return stream.isTTY ? bar(what, stream) : lines(what, stream);
}

function bar(what: string, stream: NodeJS.WriteStream): Progress {
  let drawn = false;
  return {
    update: (done, total, note = "") => {
      const filled = total > 0 ? Math.round((width * Math.min(done, total)) / total) : 0;
      const line = `${what} ${styleText("cyan", "█".repeat(filled), { stream })}${"░".repeat(width - filled)} ${counted(done, total)} ${note}`;
      stream.write(`\r\u001b[2K${line}`);
      drawn = true;
    },
    end: () => {
      if (drawn) stream.write("\n");
    },
  };
}

function lines(what: string, stream: NodeJS.WriteStream): Progress {
  let last = "";
  let written = "";
  let at = 0;
  const write = () => {
    if (last !== written) stream.write(`${last}\n`);
    written = last;
    at = performance.now();
  };
  return {
    update: (done, total, note = "") => {
      last = `${what} ${counted(done, total)} ${note}`.trimEnd();
      if (performance.now() - at > 2_000) write();
    },
    end: write,
  };
}

function counted(done: number, total: number): string {
  return total > 0 ? `${done}/${total}` : String(done);
}
