/**
 * The processes that may call each server as peers, by the name in their certificate (`spiffe://pairwise/<process>`).
 * They are the ones that have the server's address in their configuration. The network policies list the same pairs.
 * All other callers need a token.
 */
export const callers = {
  dataset: ['reference', 'training', 'training-worker', 'export', 'orchestrator'],
  reference: ['training', 'training-worker', 'orchestrator'],
  training: ['export', 'orchestrator'],
  export: ['orchestrator'],
  orchestrator: [],
} as const satisfies Record<string, readonly string[]>;
