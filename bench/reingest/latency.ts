/** The value that `share` of the values do not exceed. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (
    Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 100) / 100
  );
}

export function latencies(values: readonly number[]) {
  return { count: values.length, p50_ms: quantile(values, 0.5), p99_ms: quantile(values, 0.99) };
}
