/** An answer is not what the contract promises. The message says where and what was expected, and quotes nothing. */
export class Malformed extends Error {}
