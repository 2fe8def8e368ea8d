import { expect, test } from "vitest";
import { dollars } from "../../src/cli/output.ts";

test.each([
  [0, "$0.00"],
  [5e-9, "under $0.0001"],
  [0.000_24, "$0.00024"],
  [0.0072, "$0.0072"],
  [0.435_324, "$0.44"],
  [1_234.5, "$1234.50"],
])("%d dollars are told as %s, without an exponent", (amount, told) => {
  expect(dollars(amount)).toBe(told);
});
