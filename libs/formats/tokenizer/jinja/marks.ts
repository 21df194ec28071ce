/** A comment, statement or expression. Strings in it may contain its end. */
const tag =
  /\{#.*?#\}|\{%(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^"'])*?%\}|\{\{(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^"'])*?\}\}/gs;

/** Writes nothing, but is not white space. */
const guard = "{{ '' }}";

/**
 * Removes the marks of jinja2 that keep white space, which the library cannot read: `{%+` keeps the spaces before a block on
 * its line, `+%}` the line end after it, and `{{+` means nothing. What keeps the white space instead is an empty expression.
 */
export function withoutPlusMarks(source: string): string {
  return source.replace(tag, (text) => {
    if (text.startsWith('{{')) return text.replace(/^\{\{\+/, '{{');
    const start = text[2] === '+' ? `${guard}${text.slice(0, 2)}` : text.slice(0, 3);
    const rest = text.slice(3);
    return (
      start + (rest.endsWith('+%}') || rest.endsWith('+#}') ? `${rest.slice(0, -3)}${rest.slice(-2)}${guard}` : rest)
    );
  });
}
