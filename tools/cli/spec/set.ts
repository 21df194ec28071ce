import type { DescMessage } from '@bufbuild/protobuf';
import { parseDocument } from 'yaml';
import { usage } from '../exit.ts';
import { type JsonValue, type JsonObject, type Problem, checkElement, checkField, pathText } from './check.ts';
import { hintFor } from './hint.ts';
import { fieldOf, messageOf, runSpec } from './schema.ts';

/** Keys and value of `training.beta=0.05`. The value is parsed as YAML, so that `[q_proj, v_proj]` is a list. */
function parse(text: string): { keys: string[]; value: unknown } {
  const equals = text.indexOf('=');
  if (equals < 1) usage(`--set '${text}': it must be <field>=<value>, such as training.beta=0.05`);
  const document = parseDocument(text.slice(equals + 1));
  if (document.errors[0] !== undefined) usage(`--set '${text}': ${document.errors[0].message}`);
  return {
    keys: text
      .slice(0, equals)
      .trim()
      .split(/[.[\]]+/)
      .filter((key) => key !== ''),
    value: document.toJS(),
  };
}

/** Sets a value and removes the other fields of its oneof. */
function put(
  message: DescMessage,
  target: JsonObject,
  [key = '', ...rest]: readonly string[],
  value: unknown,
  path: (string | number)[],
  problems: Problem[],
): void {
  const field = fieldOf(message, key);
  const own = [...path, key];
  if (field === undefined) {
    problems.push({ path: own, message: `is unknown; ${hintFor(key, message, runSpec)}` });
    return;
  }
  for (const other of field.oneof?.fields ?? []) if (other !== field) Reflect.deleteProperty(target, other.jsonName);
  const within = messageOf(field);
  if (rest.length === 0) {
    const checked = checkField(field, value, own, problems);
    if (checked !== undefined) target[field.jsonName] = checked;
  } else if (field.fieldKind === 'message') {
    const inner = (target[field.jsonName] ??= {}) as JsonObject;
    put(field.message, inner, rest, value, own, problems);
  } else if (field.fieldKind === 'list') {
    const list = (target[field.jsonName] ??= []) as JsonValue[];
    const index = Number(rest[0]);
    if (!Number.isInteger(index) || index < 0 || index > list.length) {
      problems.push({ path: own, message: `has ${list.length} elements; '${rest[0]!}' is not a valid position` });
    } else if (rest.length === 1 || within === undefined) {
      const checked = checkElement(field, value, [...own, index], problems);
      if (checked !== undefined) list[index] = checked;
    } else {
      const inner = (list[index] ??= {}) as JsonObject;
      put(within, inner, rest.slice(1), value, [...own, index], problems);
    }
  } else {
    problems.push({ path: own, message: `has no field '${rest.join('.')}'` });
  }
}

/**
 * Applies `--set training.beta=0.05` to a spec in proto JSON. A field of `training` may be given by its bare name
 * (`beta=0.05`), and list elements by position (`export_targets.0.gguf.type=Q8_0`).
 */
export function applySetting(spec: JsonObject, text: string): void {
  const { keys, value } = parse(text);
  const training = fieldOf(runSpec, 'training')!.message!;
  const alone = fieldOf(runSpec, keys[0]!) === undefined && fieldOf(training, keys[0]!) !== undefined;
  const problems: Problem[] = [];
  put(runSpec, spec, alone ? ['training', ...keys] : keys, value, [], problems);
  const [problem] = problems;
  if (problem !== undefined) usage(`--set '${text}': ${pathText(problem.path)} ${problem.message}`);
}
