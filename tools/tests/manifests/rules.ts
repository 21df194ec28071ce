import { type Exception, exceptions } from './exceptions.ts';
import type { KubernetesObject } from './objects.ts';
import { objectRules } from './objectRules.ts';
import { type Finding, podRules } from './podRules.ts';

export const manifestRules = { ...podRules, ...objectRules };

/** Applies all rules to the objects of an overlay. Returns the findings, and the exceptions that matched others. */
export function judge(
  overlay: string,
  objects: readonly KubernetesObject[],
): { findings: Finding[]; excepted: Set<Exception> } {
  const all = Object.entries(manifestRules).flatMap(([rule, find]) =>
    find(objects).map((found) => ({ rule, ...found })),
  );
  const excepted = new Set<Exception>();
  const findings = all.filter((finding) => {
    const matching = exceptions.filter(
      ({ rule, object, overlay: where }) =>
        rule === finding.rule && object.test(finding.object) && (where === undefined || where.test(overlay)),
    );
    matching.forEach((exception) => excepted.add(exception));
    return matching.length === 0;
  });
  return { findings, excepted };
}
