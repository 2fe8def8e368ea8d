import { pausePipeline, pauseTenant } from "../../ledger/controls.ts";
import { steeringCommand } from "../steering.ts";

export const command = () =>
  steeringCommand({
    name: "pause",
    summary: "start no more runs of a tenant or a pipeline; those that run go on",
    example: "loregraph pause --pipeline dialog-mood",
    done: "paused",
    tenant: pauseTenant,
    pipeline: pausePipeline,
  });
