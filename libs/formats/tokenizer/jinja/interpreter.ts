import { Scope, Interpreter, type TemplateNode, type TemplateValue } from './library.ts';
import { binaryOperation, filters } from './operators.ts';
import { textMethods } from './text.ts';
import { tupleName } from './tuples.ts';
import { Arguments, TemplateError, isMapping, isSequence, isText, str } from './values.ts';

export class PythonInterpreter extends Interpreter {
  private written: string[] = [];

  render(program: TemplateNode): string {
    this.evaluate(program, this.global);
    return this.written.join('');
  }

  override evaluate(node: TemplateNode | undefined, scope: Scope): TemplateValue {
    switch (node?.type) {
      case 'Evaluated':
        return node['value'] as TemplateValue;
      case 'Output':
        this.written.push(str(this.evaluate(node['expression'] as TemplateNode, scope)));
        return nothing;
      case 'Iteration':
        return this.evaluate(node['program'] as TemplateNode, new Scope(scope));
      case 'Capture':
        return toValue(this.capture(node['program'] as TemplateNode, scope));
      case 'Macro':
        return this.macro(node, scope);
      case 'For':
        return this.loop(node, scope);
      case 'CallExpression':
        return (node['callee'] as TemplateNode)['value'] === tupleName
          ? super.evaluate({ type: 'TupleLiteral', value: node['args'] }, scope)
          : super.evaluate(node, scope);
      case 'MemberExpression':
        return this.member(node, scope);
      case 'BinaryExpression':
        return this.binary(node, scope);
      case 'FilterExpression':
        return this.filter(node, scope);
      default:
        return super.evaluate(node, scope);
    }
  }

  private capture(program: TemplateNode, scope: Scope): string {
    const outside = this.written;
    this.written = [];
    try {
      this.evaluate(program, scope);
      return this.written.join('');
    } finally {
      this.written = outside;
    }
  }

  /** A macro sees the variables of where it stands, not of where it is called; only `caller` comes from there. */
  private macro(node: TemplateNode, scope: Scope): TemplateValue {
    const result = super.evaluate(node, scope);
    const macro = scope.variables.get((node['name'] as { value: string }).value) as unknown as Callable;
    const call = macro.value;
    macro.value = (given, from) => {
      const inner = new Scope(scope);
      const caller = from.variables.get('caller');
      if (caller) inner.setVariable('caller', caller);
      return call(given, inner);
    };
    return result;
  }

  /** Loops over the characters of a text too, and over tuples to unpack. The library refuses both. */
  private loop(node: TemplateNode, scope: Scope): TemplateValue {
    const iterable = node['iterable'] as TemplateNode;
    const isSelection = iterable.type === 'SelectExpression';
    const source = this.evaluate(isSelection ? (iterable['lhs'] as TemplateNode) : iterable, new Scope(scope));
    const unpacks = (node['loopvar'] as TemplateNode).type === 'TupleLiteral';
    const items = evaluated(
      isText(source)
        ? toValue(Array.from(source.value as string))
        : isSequence(source) && unpacks
          ? listOf((source.value as TemplateValue[]).map(asList))
          : source,
    );
    return super.evaluate({ ...node, iterable: isSelection ? { ...iterable, lhs: items } : items }, scope);
  }

  private member(node: TemplateNode, scope: Scope): TemplateValue {
    const object = this.evaluate(node['object'] as TemplateNode, scope);
    if (object.type === 'UndefinedValue')
      throw new TemplateError(`${nameOf(node['object'] as TemplateNode)} is undefined`);
    const name = node['computed'] === true ? undefined : (node['property'] as { value: unknown }).value;
    if (isText(object)) {
      const text = object.value as string;
      const method = textMethods.get(String(name));
      if (method) return toFunction((given) => toValue(method(text, given)));
      if (node['computed'] === true && (node['property'] as TemplateNode).type !== 'SliceExpression') {
        const index = this.evaluate(node['property'] as TemplateNode, scope);
        // By characters: the library counts UTF-16 units.
        if (index.type === 'IntegerValue') return toValue(Array.from(text).at(index.value as number));
      }
    }
    // Properties of JavaScript that the library lends to lists and texts.
    if (name === 'length' && !isMapping(object)) return toValue(undefined);
    return super.evaluate({ ...node, object: evaluated(object) }, scope);
  }

  private binary(node: TemplateNode, scope: Scope): TemplateValue {
    const operator = (node['operator'] as { value: string }).value;
    if (operator === 'and' || operator === 'or') return super.evaluate(node, scope);
    const left = this.evaluate(node['left'] as TemplateNode, scope);
    const right = this.evaluate(node['right'] as TemplateNode, scope);
    const result = binaryOperation(operator, left, right);
    if (result !== undefined) return toValue(result);
    return super.evaluate({ ...node, left: evaluated(left), right: evaluated(right) }, scope);
  }

  private filter(node: TemplateNode, scope: Scope): TemplateValue {
    const operand = this.evaluate(node['operand'] as TemplateNode, scope);
    const call = node['filter'] as TemplateNode;
    const name = ((call['callee'] ?? call) as { value: string }).value;
    const filter = filters.get(name);
    if (filter === undefined) return super.evaluate({ ...node, operand: evaluated(operand) }, scope);
    // A call of a function that returns what it is given, so that the library evaluates the arguments.
    let given = new Arguments([]);
    if (call['args'] !== undefined) {
      const callee = evaluated(toFunction((all) => ((given = all), nothing)));
      this.evaluate({ type: 'CallExpression', callee, args: call['args'] }, scope);
    }
    const result = filter(operand, given);
    if (result !== undefined) return toValue(result);
    return super.evaluate({ ...node, operand: evaluated(operand) }, scope);
  }
}

interface Callable {
  value: (given: TemplateValue[], from: Scope) => TemplateValue;
}

/** The library's form of a JavaScript value. */
function toValue(value: unknown): TemplateValue {
  return new Scope().set('value', value);
}

const nothing = toValue(null);

function toFunction(call: (given: Arguments) => TemplateValue): TemplateValue {
  const made = toValue(() => null);
  (made as unknown as Callable).value = (given) => call(new Arguments(given));
  return made;
}

function listOf(items: TemplateValue[]): TemplateValue {
  return Object.assign(toValue([]), { value: items });
}

/** A tuple as a list of the same items. */
function asList(value: TemplateValue): TemplateValue {
  return value.type === 'TupleValue' ? listOf(value.value as TemplateValue[]) : value;
}

function evaluated(value: TemplateValue): TemplateNode {
  return { type: 'Evaluated', value };
}

function nameOf(node: TemplateNode): string {
  return node.type === 'Identifier' ? String(node['value']) : `the value before .${node.type}`;
}
