/** An accepted finding, and why it is accepted. */
export interface Exception {
  rule: string;
  /** `Kind/name`. */
  object: RegExp;
  /** Overlays to which it applies. Default: all. */
  overlay?: RegExp;
  reason: string;
}

/**
 * Findings of the rules that we accept. An exception that matches no finding fails the tests. The linters themselves report the
 * same findings, and kube-score reports one more: it does not know ScaledJobs, so it believes that the training worker's policy
 * selects no pods. (Our rules do know them.)
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
    reason: 'KEDA sets the number',
  },
  {
    rule: 'several-replicas',
    object: /^Deployment\/pairwise-/,
    overlay: /^dev-cpu$/,
    reason: 'a trial on one node, where a second pod would not help',
  },
  {
    rule: 'network-policy',
    object: /^(Deployment|ScaledJob)\/pairwise-(reference|training)-worker$/,
    reason: 'workers accept no calls, so no policy allows any; the one that denies all covers this direction',
  },
  {
    rule: 'network-policy',
    object: /^Job\/pairwise-migrations$/,
    reason: 'calls only DNS and Postgres, and accepts no calls; the policy that denies all covers the rest',
  },
  {
    rule: 'network-policy',
    object: /^StatefulSet\/pairwise-postgres$/,
    overlay: /^dev-cpu$/,
    reason: 'makes no calls, so no policy allows any; the one that denies all covers this direction',
  },
  {
    rule: 'several-replicas',
    object: /^Deployment\/pairwise-collector$/,
    overlay: /gpu|spot/,
    reason: 'the counters of a process must come from one collector; senders buffer while it is away',
  },
  {
    rule: 'image-digest',
    object: /^(StatefulSet\/pairwise-postgres|Deployment\/pairwise-collector)$/,
    reason: 'a public image with a version; the operator chooses the digest for the platform',
  },
];
