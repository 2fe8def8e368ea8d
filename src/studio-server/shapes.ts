import { z } from "zod";

/** What a request names. Unknown fields are let through: clients send more from release to release. */
export const OfThread = z.object({ thread_id: z.guid() });

export const Checkpoint = z
  .looseObject({
    thread_id: z.guid().nullish(),
    checkpoint_ns: z.string().max(2_000).nullish(),
    checkpoint_id: z.string().max(100).nullish(),
    checkpoint_map: z.record(z.string().max(2_000), z.string().max(100)).nullish(),
  })
  .transform(({ thread_id, checkpoint_ns, checkpoint_id, checkpoint_map }) => ({
    thread_id: thread_id ?? undefined,
    checkpoint_ns: checkpoint_ns ?? undefined,
    checkpoint_id: checkpoint_id ?? undefined,
    checkpoint_map: checkpoint_map ?? undefined,
  }));

export const Limit = z.int().min(1).max(1_000).default(10);
export const Offset = z.int().min(0).max(10_000).default(0);

/** The place that is meant by a checkpoint, by its id alone, or by neither: the newest. */
export function placeOf({
  checkpoint,
  checkpoint_id,
}: {
  readonly checkpoint?: z.infer<typeof Checkpoint> | null | undefined;
  readonly checkpoint_id?: string | null | undefined;
}): z.infer<typeof Checkpoint> {
  const none = {
    thread_id: undefined,
    checkpoint_ns: undefined,
    checkpoint_id: undefined,
    checkpoint_map: undefined,
  };
  return checkpoint ?? { ...none, checkpoint_id: checkpoint_id ?? undefined };
}
