import type { HttpSettings } from "../config.ts";
import { openApp } from "../http/app.ts";
import type { App } from "../http/services.ts";
import { forgetTransactionIds } from "../store/events.ts";
import type { Context } from "../worker/context.ts";
import type { Session } from "./session.ts";

/** The HTTP API of this process, as the settings say; it does not listen yet. */
export async function openApi({ config }: Session, context: Context, settings: HttpSettings): Promise<App> {
  const { maxTextChars, webhooks, mainService } = config;
  const hasMainService = mainService.url !== undefined;
  await forgetTransactionIds(context.pool);
  return await openApp({ ...context, maxTextChars, webhooks, hasMainService }, settings);
}
