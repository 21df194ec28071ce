/**
 * Which processes may call each server as peers, by the name in their certificate (`spiffe://pairwise/<process>`): those
 * whose configuration has the server's address. Network policies have the same edges. Everybody else needs a token.
 */
export const callers = {
  dataset: ['reference', 'training', 'training-worker', 'export', 'orchestrator'],
  reference: ['training', 'training-worker', 'orchestrator'],
  training: ['export', 'orchestrator'],
  export: ['orchestrator'],
  orchestrator: [],
} as const satisfies Record<string, readonly string[]>;
