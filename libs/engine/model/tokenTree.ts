/**
 * Tokens that go through the model together: a prefix and the branches that follow it. Each branch sees the prefix and
 * itself, and its positions continue those of the prefix. A pair is a prompt with two branches; a single sequence has one.
 */
export interface TokenTree {
  prefix: Int32Array;
  branches: readonly Int32Array[];
}

/** The number of rows of a tree: its tokens without the last of each branch, which predicts nothing. */
export function rowCount({ prefix, branches }: TokenTree): number {
  return branches.reduce((sum, branch) => sum + branch.length - 1, prefix.length);
}

/** The number of targets of a tree: the tokens of its branches, whose logps are computed. */
export function targetCount({ branches }: TokenTree): number {
  return branches.reduce((sum, branch) => sum + branch.length, 0);
}
