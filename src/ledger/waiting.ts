/** What a run that does not wait for a person any more no longer has. */
export const unasked = "question = null, waiting_since = null";
