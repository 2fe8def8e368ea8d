/** How many there are behind a page, and where the next one begins, as LangGraph's clients read it. */
export function pageHeaders(
  { offset, limit }: { readonly offset: number; readonly limit: number },
  total: number,
): Readonly<Record<string, string>> {
  const next = offset + limit;
  return {
    "x-pagination-total": String(total),
    ...(next < total ? { "x-pagination-next": String(next) } : {}),
  };
}
