/** A mean with the interval that holds the true one in 95 of 100 cases. */
export type Estimate = {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly method: "wilson" | "bootstrap";
};

const z = 1.959964; // the normal distribution's 97.5th percentile
const resamples = 2_000;

/**
 * The mean of scores from 0 to 1. Where each is 0 or 1, or all are the same, by Wilson's score interval (Wilson 1927),
 * which stays honest for few examples and for a share of 0 or 1; else by the percentile bootstrap (Efron 1979), with a
 * fixed seed, so that the same scores always have the same interval.
 */
export function estimate(scores: readonly number[]): Estimate {
  const mean = meanOf(scores);
  const share = scores.every((score) => score === 0 || score === 1) || new Set(scores).size === 1;
  if (share) return { mean, ...wilson(mean, scores.length), method: "wilson" };
  return { mean, ...bootstrap(scores), method: "bootstrap" };
}

/** The mean of paired differences, from -1 to 1, by the percentile bootstrap over pairs (Koehn 2004). */
export function estimateDifference(differences: readonly number[]): Omit<Estimate, "method"> {
  return { mean: meanOf(differences), ...bootstrap(differences) };
}

export function meanOf(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

type Interval = { readonly low: number; readonly high: number };

function wilson(share: number, n: number): Interval {
  if (n === 0) return { low: 0, high: 1 };
  const spread = z ** 2 / n;
  const middle = (share + spread / 2) / (1 + spread);
  const half = (z / (1 + spread)) * Math.sqrt((share * (1 - share)) / n + spread / (4 * n));
  return { low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

function bootstrap(values: readonly number[]): Interval {
  if (values.length === 0) return { low: 0, high: 0 };
  const random = seeded(values.length);
  const means = Float64Array.from({ length: resamples }, () => {
    let sum = 0;
    for (let drawn = 0; drawn < values.length; drawn++)
      sum += values[Math.floor(random() * values.length)] ?? 0;
    return sum / values.length;
  }).sort();
  const at = (share: number) => means[Math.floor(share * (resamples - 1))] ?? 0;
  return { low: at(0.025), high: at(0.975) };
}

/** Numbers from 0 to below 1 that look random and are the same each time: xorshift (Marsaglia 2003), 32 bits. */
function seeded(seed: number): () => number {
  let state = seed + 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  // From a small seed, the first ones are small.
  for (let warm = 0; warm < 16; warm++) next();
  return next;
}
