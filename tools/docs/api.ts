import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  type DescEnum,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescService,
  ScalarType,
  createFileRegistry,
  fromBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { commentOf } from './comments.ts';
import { anchor, notice, markdownTable } from './markdown.ts';

/** The files of the API, in the order of the reference. */
const order = ['orchestrator', 'dataset', 'model', 'training', 'reference', 'export', 'diagnostics', 'errors'];

const introduction = `# API reference

Generated from the comments in \`proto/pairwise/v1\`. All services answer at one address, \`127.0.0.1:7410\` by default.

- A resource name is the path of its ids: \`projects/default/runs/first\`.
- Requests that create, change or delete something take a \`request_id\`; repeating a call with the same id within 30 days changes
  nothing more. Each project and each method has ids of its own.
- List calls return pages: pass \`next_page_token\` as the next \`page_token\`, until it is empty. A page ends before 4 MiB, so it may
  be shorter than \`page_size\`. What is created or deleted meanwhile neither repeats nor hides other items.
- Errors are \`google.rpc.Status\` with an \`ErrorInfo\`, whose \`reason\` is one of [ErrorReason](#errorreason).
- An _optional_ field that is not set takes its default; zero is a value like any other.
- Fields of one _oneof_ exclude each other.
- A string has at most 16,384 characters, or fewer where its field says so, and no NUL.
- Enums are open: later versions add values. Treat a state that you do not know as one that has not ended. In a request, a value
  that the server does not know is an \`INVALID_ARGUMENT\`.`;

/** \`docs/api.md\`. */
export function apiReference(): string {
  const path = fileURLToPath(import.meta.resolve('@pairwise/api/descriptor.binpb'));
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(path)));
  const files = [...registry.files].filter(({ proto }) => proto.package === 'pairwise.v1');
  const nameOf = ({ name }: DescFile) => name.split('/').at(-1)!;
  const unlisted = files.map(nameOf).filter((name) => !order.includes(name));
  if (unlisted.length > 0) throw new Error(`add ${unlisted.join(', ')} to 'order'`);
  const sorted = files.toSorted((a, b) => order.indexOf(nameOf(a)) - order.indexOf(nameOf(b)));
  return `${[notice, introduction, contents(sorted), ...sorted.flatMap(fileSections)].join('\n\n')}\n`;
}

const link = (name: string) => `[${name}](#${anchor(name)})`;

function contents(files: readonly DescFile[]): string {
  const rows = files.flatMap(({ services }) =>
    services.map((service) => [link(service.name), service.methods.map(({ name }) => link(name)).join(', ')]),
  );
  return markdownTable(['Service', 'Methods'], rows);
}

function fileSections(file: DescFile): string[] {
  // Requests and responses are documented with their methods.
  const within = new Set(
    file.services.flatMap(({ methods }) => methods.flatMap(({ input, output }) => [input, output])),
  );
  return [
    ...file.services.flatMap(serviceSections),
    ...file.messages.filter((message) => !within.has(message)).flatMap(messageSections),
    ...file.enums.flatMap(enumSections),
  ];
}

function serviceSections(service: DescService): string[] {
  return [`## ${service.name}`, commentOf(service), ...service.methods.flatMap(methodSections)];
}

function methodSections(method: DescMethod): string[] {
  const { name, input, output, methodKind } = method;
  const streams = (own: string) => (methodKind === own || methodKind === 'bidi_streaming' ? 'stream ' : '');
  const signature = `rpc ${name}(${streams('client_streaming')}${input.name}) returns (${streams('server_streaming')}${output.name})`;
  return [
    `### ${name}`,
    `\`${signature}\``,
    commentOf(method),
    ...fieldTable('Request', input),
    ...fieldTable('Response', output),
  ].filter((part) => part !== '');
}

function messageSections(message: DescMessage): string[] {
  return [
    `### ${message.name}`,
    commentOf(message),
    ...fieldTable('Field', message),
    ...message.nestedMessages.filter(({ proto }) => proto.options?.mapEntry !== true).flatMap(messageSections),
    ...message.nestedEnums.flatMap(enumSections),
  ].filter((part) => part !== '');
}

function fieldTable(title: string, message: DescMessage): string[] {
  if (message.fields.length === 0) return title === 'Field' ? ['It has no fields.'] : [];
  const rows = message.fields.map((field) => [`\`${field.name}\``, typeText(field), fieldText(field)]);
  return [markdownTable([title, 'Type', ''], rows)];
}

function fieldText(field: DescField): string {
  const group = field.oneof === undefined ? '' : `_oneof \`${field.oneof.name}\`._`;
  return [group, commentOf(field)].filter((part) => part !== '').join(' ');
}

function typeText(field: DescField): string {
  switch (field.fieldKind) {
    case 'map':
      return `map of ${scalarText(field.mapKey)} to ${elementText(field)}`;
    case 'list':
      return `repeated ${elementText(field)}`;
    default:
      return `${field.proto.proto3Optional ? 'optional ' : ''}${elementText(field)}`;
  }
}

const scalarText = (scalar: ScalarType) => ScalarType[scalar].toLowerCase();

/** The type of a field, or of one element of it. */
function elementText({ message, enum: enumeration, scalar }: DescField): string {
  const named = message ?? enumeration;
  if (named === undefined) return scalarText(scalar!);
  return named.file.proto.package === 'pairwise.v1' ? link(named.name) : `\`${named.typeName}\``;
}

function enumSections(enumeration: DescEnum): string[] {
  const rows = enumeration.values
    .filter(({ number }) => number !== 0)
    .map((value) => [`\`${value.name}\``, commentOf(value)]);
  return [`### ${enumeration.name}`, commentOf(enumeration), markdownTable(['Value', ''], rows)];
}
