import { BinaryWriter } from '@bufbuild/protobuf/wire';
import type { Attribute, Constant, External, Graph, Node, Value } from './graph.ts';
import { dtypes, constantBytes } from './dtypes.ts';
import { lower } from './lower.ts';

/** Every execution provider has kernels for operator set 21. */
const opset = 21;
const irVersion = 10;

/**
 * Encodes a graph as an ONNX `ModelProto` (onnx.proto3): only operators of the default domain, constants inline, weights
 * as external data. The same graph always gives the same bytes.
 */
export function encodeModel(graph: Graph): Uint8Array<ArrayBuffer> {
  const { nodes, constants, outputs } = lower(graph);
  const writer = new BinaryWriter().uint32(tag(1, 0)).int64(irVersion);
  text(writer, 2, 'pairwise');
  message(writer, 7, () => {
    for (const node of nodes) message(writer, 1, () => writeNode(writer, node));
    text(writer, 2, graph.name);
    for (const constant of constants) message(writer, 5, () => writeConstant(writer, constant));
    for (const external of graph.externals) message(writer, 5, () => writeExternal(writer, external));
    for (const value of graph.inputs) message(writer, 11, () => writeValue(writer, value));
    for (const value of outputs) message(writer, 12, () => writeValue(writer, value));
  });
  message(writer, 8, () => {
    text(writer, 1, '');
    writer.uint32(tag(2, 0)).int64(opset);
  });
  return new Uint8Array(writer.finish());
}

function writeNode(writer: BinaryWriter, node: Node): void {
  for (const input of node.inputs) text(writer, 1, input?.name ?? '');
  for (const output of node.outputs) text(writer, 2, output.name);
  text(writer, 3, node.name);
  text(writer, 4, node.op);
  for (const [name, attribute] of Object.entries(node.attributes)) {
    message(writer, 5, () => writeAttribute(writer, name, attribute));
  }
}

function writeAttribute(writer: BinaryWriter, name: string, attribute: Attribute): void {
  const type = { FLOAT: 1, INT: 2, STRING: 3, INTS: 7 };
  const writeType = (code: number) => writer.uint32(tag(20, 0)).int32(code);
  text(writer, 1, name);
  if (typeof attribute === 'number') {
    writer.uint32(tag(3, 0)).int64(attribute);
    writeType(type.INT);
  } else if (isList(attribute)) {
    for (const number of attribute) writer.uint32(tag(8, 0)).int64(number);
    writeType(type.INTS);
  } else if ('float' in attribute) {
    writer.uint32(tag(2, 5)).float(attribute.float);
    writeType(type.FLOAT);
  } else {
    text(writer, 4, attribute.text);
    writeType(type.STRING);
  }
}

function isList(attribute: object): attribute is readonly number[] {
  return Array.isArray(attribute);
}

function writeTensorHead(writer: BinaryWriter, value: Value): void {
  for (const dim of value.shape) writer.uint32(tag(1, 0)).int64(dim);
  writer.uint32(tag(2, 0)).int32(dtypes[value.dtype].code);
  text(writer, 8, value.name);
}

function writeConstant(writer: BinaryWriter, { value, data }: Constant): void {
  writeTensorHead(writer, value);
  writer.uint32(tag(9, 2)).bytes(constantBytes(value.dtype, data));
}

function writeExternal(writer: BinaryWriter, { value, data }: External): void {
  writeTensorHead(writer, value);
  for (const [key, entry] of Object.entries(data) as [string, string | number][]) {
    message(writer, 13, () => {
      text(writer, 1, key);
      text(writer, 2, String(entry));
    });
  }
  writer.uint32(tag(14, 0)).int32(1);
}

function writeValue(writer: BinaryWriter, value: Value): void {
  text(writer, 1, value.name);
  message(writer, 2, () => {
    message(writer, 1, () => {
      writer.uint32(tag(1, 0)).int32(dtypes[value.dtype].code);
      message(writer, 2, () => {
        for (const dim of value.shape) {
          message(writer, 1, () => {
            if (typeof dim === 'number') writer.uint32(tag(1, 0)).int64(dim);
            else text(writer, 2, dim);
          });
        }
      });
    });
  });
}

function tag(field: number, wireType: number): number {
  return (field << 3) | wireType;
}

function text(writer: BinaryWriter, field: number, value: string): void {
  writer.uint32(tag(field, 2)).string(value);
}

function message(writer: BinaryWriter, field: number, write: () => void): void {
  writer.uint32(tag(field, 2)).fork();
  write();
  writer.join();
}
