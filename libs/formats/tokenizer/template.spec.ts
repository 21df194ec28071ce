import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RowError, type Message } from '@pairwise/preference';
import { sharedFolder } from '@pairwise/testing';
import { describe, expect, test } from 'vitest';
import corpus from './jinja/corpus.json' with { type: 'json' };
import { strftime } from './jinja/strftime.ts';
import { openTemplate } from './template.ts';

const shared = sharedFolder();
const specialTokens = { bos_token: '<s>', eos_token: '</s>' };
const said = (role: string, content: string): Message => ({ role, content });
const greeting = [said('user', 'Hi  there'), said('assistant', "It's fine.\n")];

/** What is rendered, or undefined if the template refuses the messages. */
function rendered(template: string, messages: Message[], addGenerationPrompt: boolean, date = '2024-07-26') {
  try {
    return openTemplate(template, { specialTokens, date })(messages, addGenerationPrompt);
  } catch (error) {
    if (error instanceof RowError) return null;
    throw error;
  }
}

// The results of transformers 5.24 with jinja2 3.1.6, by jinja/corpus.py; null where Python raises an error.
test.each(Object.entries(corpus))('%s is rendered as transformers does', (_, { template, rendered: wanted }) => {
  expect(rendered(template, greeting, false)).toBe(wanted);
});

test.skipIf(shared === undefined)('templates of real kinds are rendered as transformers does', () => {
  const json = (file: string) =>
    JSON.parse(readFileSync(join(shared!, 'cases/templates', file), 'utf8')) as Record<string, unknown>;
  const wanted = json('rendered_by_transformers.json') as Record<string, [string, string]>;
  const asked = [said('user', ' One day  Tom "ran" <b>é</b> ')];
  const answered = [...asked, said('assistant', "It's fine.\n")];
  for (const [name, template] of Object.entries(json('templates.json'))) {
    const ours = [rendered(template as string, asked, true, '2026-11-29')];
    ours.push(rendered(template as string, answered, false, '2026-11-29'));
    expect(ours, name).toEqual(wanted[name]);
  }
});

describe('a template that cannot be used', () => {
  const render = (template: string) => () =>
    openTemplate(template, { specialTokens, date: '2024-07-26' })(greeting, true);

  test.each([
    ['a filter', '{{ messages | batch(2) }}', 'batch'],
    ['a test', '{{ 1 is sameas }}', 'sameas'],
    ['a mapping of numbers', "{{ {1: 'a'} }}", 'keys must be strings'],
    ['a statement', "{% include 'other' %}", 'include'],
  ])('%s that is not supported is named', (_, template, name) => {
    expect(render(template)).toThrow(expect.objectContaining({ reason: 'UNSUPPORTED_CONFIG', field: 'chat_template' }));
    expect(render(template)).toThrow(name);
  });

  test('its own words reach the user, those of a row do not', () => {
    expect(render("{{ raise_exception('only a system message may begin') }}")).toThrow(
      'only a system message may begin',
    );
    const message = (template: string) => {
      try {
        return render(template)();
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(message('{{ raise_exception(messages[0].content) }}')).not.toContain('Hi');
    const secret = (operation: string, content: string) => () =>
      openTemplate(`{{ messages[0].content${operation} }}`, { specialTokens, date: '2024-07-26' })(
        [said('user', content)],
        true,
      );
    for (const [operation, content] of [
      ['.format()', '{secret}'],
      [' % {}', '%(secret)s'],
      [" % {'secret': 'a'}", '%(secret)d'],
    ] as const) {
      expect(secret(operation, content)).toThrow(RowError);
      expect(secret(operation, content)).not.toThrow('secret');
    }
  });
});

test('dates are written as Python does', () => {
  const written = (date: string, format: string) => strftime(new Date(`${date}T00:00:00Z`), format);
  expect(written('2024-07-06', '%a %A %b %B %d %-d %_d %e %j %y %Y %C %m %-m')).toBe(
    'Sat Saturday Jul July 06 6  6  6 188 24 2024 20 07 7',
  );
  expect(written('2024-07-06', '%H:%M:%S %I %p %P %X|%c|%x|%D|%F|%r')).toBe(
    '00:00:00 12 AM am 00:00:00|Sat Jul  6 00:00:00 2024|07/06/24|07/06/24|2024-07-06|12:00:00 AM',
  );
  expect(written('2024-07-06', '%^a %#p %u %w %s %% %q%z%Z')).toBe('SAT am 6 6 1720224000 % %q');
  // Week numbers around a new year: by Sundays, by Mondays, and by ISO 8601.
  expect(written('2021-01-01', '%U %W %V %G %g')).toBe('00 00 53 2020 20');
  expect(written('2023-01-01', '%U %W %V %G %g')).toBe('01 00 52 2022 22');
});
