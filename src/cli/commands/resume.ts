import { resumePipeline, resumeTenant } from "../../ledger/controls.ts";
import { steeringCommand } from "../steering.ts";

export const command = () =>
  steeringCommand({
    name: "resume",
    summary: "start runs of a paused tenant or pipeline again",
    example: "loregraph resume --tenant <uuid>",
    done: "resumed",
    tenant: resumeTenant,
    pipeline: resumePipeline,
  });
