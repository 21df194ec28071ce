/** A finding that is meant to be, and why. */
export interface Exception {
  rule: string;
  /** `Kind/name`. */
  object: RegExp;
  /** Where it is meant; default everywhere. */
  overlay?: RegExp;
  reason: string;
}

/**
 * What the rules find and shall find. One that nothing falls under any more fails the tests. The linters themselves find
 * the same, and kube-score one thing more: it does not know ScaledJobs, so the policy of the training worker selects
 * nothing for it. (`policy-selects-pods` does know them, and so do all rules about pods.)
 */
export const exceptions: Exception[] = [
  {
    rule: 'several-replicas',
    object: /^Deployment\/pairwise-dataset$/,
    reason: 'uploads are on a volume of its pod until they are sealed; clients resume them after a restart',
  },
  {
    rule: 'several-replicas',
    object: /^Deployment\/pairwise-reference-worker$/,
    overlay: /gpu|spot/,
    reason: 'KEDA says how many there are',
  },
  {
    rule: 'several-replicas',
    object: /^Deployment\/pairwise-/,
    overlay: /^dev-cpu$/,
    reason: 'a trial on one node, where a second pod guards against nothing',
  },
  {
    rule: 'network-policy',
    object: /^(Deployment|ScaledJob)\/pairwise-(reference|training)-worker$/,
    reason: 'workers serve nobody, so there is no edge to them; the policy that denies all covers that way',
  },
  {
    rule: 'network-policy',
    object: /^Job\/pairwise-migrations$/,
    reason: 'needs names and Postgres, and nobody needs it; the policy that denies all covers the rest',
  },
  {
    rule: 'network-policy',
    object: /^StatefulSet\/pairwise-postgres$/,
    overlay: /^dev-cpu$/,
    reason: 'calls nobody, so there is no edge from it; the policy that denies all covers that way',
  },
  {
    rule: 'several-replicas',
    object: /^Deployment\/pairwise-collector$/,
    overlay: /gpu|spot/,
    reason: 'the counters of a process must come from one collector; senders hold back what it cannot take',
  },
  {
    rule: 'image-digest',
    object: /^(StatefulSet\/pairwise-postgres|Deployment\/pairwise-collector)$/,
    reason: "not ours: the version is named, and the digest is the operator's to choose with the platform",
  },
];
