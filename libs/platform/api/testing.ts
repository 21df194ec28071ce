import { readFileSync } from 'node:fs';
import {
  createFileRegistry,
  fromBinary,
  fromJson,
  ScalarType,
  toBinary,
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

const set = fromBinary(FileDescriptorSetSchema, readFileSync(new URL('descriptor.binpb', import.meta.url)));
const registry = createFileRegistry(set);
const serviceNames = ['Dataset', 'Model', 'Reference', 'Training', 'Export', 'Orchestrator', 'Diagnostics'];

/** A field of a request, with the fields that lead to it. */
export type FieldPath = readonly DescField[];

/** A request that must be refused for one field. */
export interface Offence {
  method: string;
  /** Path as errors have it, such as `spec.training.losses[0].weight`. */
  field: string;
  /** What is wrong with it. */
  value: string;
  /** The request, encoded. */
  request: Buffer;
}

/** No number of such a field is refused. */
const anyNumber = new Set(['pairwise.v1.TrainingSpec.seed']);
const [outsideOfWhole, outsideOfReal] = [[-1], [1e300, 1e308, NaN, Infinity, -Infinity, -1]];
/** More elements than any list may have. */
const tooMany = 100_000;
/** A number that is in no enum. */
const inNoEnum = 99;

/** Every number, enum and list that a request of the API can carry. */
export function boundedFields(): FieldPath[] {
  return serviceNames.flatMap((name) =>
    registry.getService(`pairwise.v1.${name}Service`)!.methods.flatMap(({ input }) => boundedIn(input)),
  );
}

const boundedIn = (message: DescMessage) => fieldsIn(message, isBounded);

/** The fields of a message and of those within it for which `matches` is true. */
function fieldsIn(message: DescMessage, matches: (field: DescField) => boolean, before: FieldPath = []): FieldPath[] {
  return message.fields.flatMap((field) => {
    const path = [...before, field];
    const within = field.message === undefined ? [] : fieldsIn(field.message, matches, path);
    return matches(field) ? [path, ...within] : within;
  });
}

function isBounded(field: DescField): boolean {
  return field.fieldKind === 'list' || field.fieldKind === 'map' || field.enum !== undefined || isNumber(field);
}

const isString = (field: DescField) => field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING;

function isNumber({ scalar }: DescField): boolean {
  return scalar !== undefined && ![ScalarType.STRING, ScalarType.BOOL, ScalarType.BYTES].includes(scalar);
}

/** The comment of a field in the proto. */
export function commentOf(field: DescField): string {
  const { file } = field.parent;
  const path = [4, file.messages.indexOf(field.parent), 2, field.parent.fields.indexOf(field)].join();
  const location = file.proto.sourceCodeInfo?.location.find((each) => each.path.join() === path);
  return location?.leadingComments ?? '';
}

/**
 * For each number, enum, string and list that the requests of a service can carry, requests that are good, as `good` has them in
 * proto JSON by method, save for that field: numbers out of every range, values that are in no enum, strings with a NUL, and
 * lists that are too long. Throws for a method that is missing from `good`.
 */
export function offences(service: string, good: Readonly<Record<string, object>>): Offence[] {
  return registry.getService(`pairwise.v1.${service}`)!.methods.flatMap(({ localName: method, input }) =>
    fieldsIn(input, (field) => isBounded(field) || isString(field)).flatMap((path) => {
      // A bad string is refused first, whatever else is in the request.
      const base = good[method] ?? (isString(path.at(-1)!) ? {} : undefined);
      if (base === undefined) throw new Error(`give a good request of ${method}: it has bounded fields`);
      return valuesOf(path.at(-1)!).map(({ value, json }): Offence => {
        const request = Buffer.from(toBinary(input, fromJson(input, withValue(base as JsonObject, path, json))));
        return { method, field: pathText(path), value, request };
      });
    }),
  );
}

function valuesOf(field: DescField): { value: string; json: JsonValue }[] {
  if (field.fieldKind === 'list') {
    const element = field.listKind === 'message' ? {} : '';
    return [{ value: `${tooMany} elements`, json: Array.from({ length: tooMany }, () => element) }];
  }
  if (isString(field)) return [{ value: 'a NUL', json: 'a\0' }];
  if (field.fieldKind === 'enum') return [{ value: String(inNoEnum), json: inNoEnum }];
  if (field.fieldKind !== 'scalar') throw new Error(`${field.toString()} is of a kind that needs a case here`);
  if (anyNumber.has(`${field.parent.typeName}.${field.name}`)) return [];
  const isReal = field.scalar === ScalarType.DOUBLE || field.scalar === ScalarType.FLOAT;
  const numbers = isReal ? outsideOfReal : outsideOfWhole;
  return numbers.map((number) => ({ value: String(number), json: Number.isFinite(number) ? number : String(number) }));
}

/** A copy of proto JSON with another value at a path; what its oneof held before goes. */
function withValue(base: JsonObject, [field, ...rest]: FieldPath, value: JsonValue): JsonObject {
  if (field === undefined) return base;
  const others = field.oneof?.fields.map(({ jsonName }) => jsonName) ?? [];
  const kept = Object.fromEntries(Object.entries(base).filter(([name]) => !others.includes(name)));
  if (rest.length === 0) return { ...kept, [field.jsonName]: value };
  const before = base[field.jsonName];
  if (field.fieldKind !== 'list') {
    return { ...kept, [field.jsonName]: withValue((before ?? {}) as JsonObject, rest, value) };
  }
  const [first = {}, ...further] = (before ?? []) as JsonObject[];
  return { ...kept, [field.jsonName]: [withValue(first, rest, value), ...further] };
}

function pathText(path: FieldPath): string {
  return path
    .map((field, index) => (field.fieldKind === 'list' && index < path.length - 1 ? `${field.name}[0]` : field.name))
    .join('.');
}

/** Sends the request of an offence by a client of its service; streams are read to their end. */
export async function send(client: object, definition: object, { method, request }: Offence): Promise<void> {
  const { requestDeserialize, requestStream } = (definition as Record<string, AnyMethod>)[method]!;
  const message = requestDeserialize(request);
  const call = (client as Record<string, (input: unknown) => AnyAnswer>)[method]!;
  const answer = call(requestStream ? stream(message) : message);
  if (Symbol.asyncIterator in answer) await Array.fromAsync(answer);
  else await answer;
}

interface AnyMethod {
  requestDeserialize: (bytes: Buffer) => unknown;
  requestStream: boolean;
}
type AnyAnswer = Promise<unknown> | AsyncIterable<unknown>;

async function* stream(message: unknown) {
  yield await Promise.resolve(message);
}
