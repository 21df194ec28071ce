import type { DescEnum, DescEnumValue, DescField, DescMessage, DescMethod, DescService } from '@bufbuild/protobuf';

type Commented = DescEnum | DescEnumValue | DescField | DescMessage | DescMethod | DescService;

// Field numbers in descriptor.proto, from which the paths in SourceCodeInfo are built.
const inFile = { message: 4, enum: 5, service: 6 } as const;
const inMessage = { field: 2, message: 3, enum: 4 } as const;
const valueInEnum = 2;
const methodInService = 2;

/** The path of a declaration in its file's descriptor. */
function pathOf(desc: Commented): number[] {
  switch (desc.kind) {
    case 'service':
      return [inFile.service, desc.file.services.indexOf(desc)];
    case 'rpc':
      return [...pathOf(desc.parent), methodInService, desc.parent.methods.indexOf(desc)];
    case 'field':
      return [...pathOf(desc.parent), inMessage.field, desc.parent.fields.indexOf(desc)];
    case 'enum_value':
      return [...pathOf(desc.parent), valueInEnum, desc.parent.values.indexOf(desc)];
    case 'message':
    case 'enum': {
      const siblings: readonly Commented[] =
        desc.kind === 'message'
          ? (desc.parent?.nestedMessages ?? desc.file.messages)
          : (desc.parent?.nestedEnums ?? desc.file.enums);
      const parent = desc.parent === undefined ? [] : pathOf(desc.parent);
      const number = (desc.parent === undefined ? inFile : inMessage)[desc.kind];
      return [...parent, number, siblings.indexOf(desc)];
    }
  }
}

function fileOf(desc: Commented) {
  return desc.kind === 'rpc' || desc.kind === 'field' || desc.kind === 'enum_value' ? desc.parent.file : desc.file;
}

/** The comment above a declaration, each paragraph on one line; empty if there is none. */
export function commentOf(desc: Commented): string {
  const path = pathOf(desc).join('.');
  const locations = fileOf(desc).proto.sourceCodeInfo?.location ?? [];
  const found = locations.find((location) => location.path.join('.') === path);
  const paragraphs = (found?.leadingComments ?? '').split(/\n\s*\n/);
  return paragraphs.map((text) => text.trim().replaceAll(/\s*\n\s*/g, ' ')).join('\n\n');
}
