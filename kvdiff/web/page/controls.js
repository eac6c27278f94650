// Controls made from what the page knows of its model.

/** An element with properties and children. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A labelled control. */
export function labelled(text, control) {
  return element('label', { className: 'field' }, element('span', { textContent: text }), control);
}

/** A choice: options are [value, text]. */
export function choice(options, value, onChange) {
  const select = element('select');
  select.append(...options.map(([each, text]) => element('option', { value: each, textContent: text })));
  select.value = value;
  select.addEventListener('change', () => onChange(select.value));
  return select;
}

/** A slider that shows its number. */
export function slider({ min, max, step, value }, onInput) {
  const input = element('input', { type: 'range', min, max, step });
  input.value = value;
  const output = element('output', { textContent: value });
  input.addEventListener('input', () => {
    output.textContent = input.value;
    onInput(Number(input.value));
  });
  return element('span', { className: 'slider' }, input, output);
}

/**
 * The controls of a model's conditions.
 *
 * @param values the conditions that are present, by name: numbers of one clip or of one frame; changed by the controls.
 */
export function conditionControls(spec, values, onChange) {
  return spec.conditions
    .filter(({ control }) => control === 'classes' || control === 'sliders')
    .map((condition) => (condition.control === 'classes' ? classControl : sliderControl)(spec, condition, values, onChange));
}

const title = (condition) => condition.name.replaceAll('_', ' ') + (condition.perFrame ? ', in every frame' : '');

function set(values, name, value, onChange) {
  if (value === null) delete values[name];
  else values[name] = value;
  onChange();
}

function classControl(spec, condition, values, onChange) {
  const own = spec.actions?.condition === condition.name ? spec.actions.values : null;
  const names = own ? own.map(({ name, value }) => [String(value), name])
    : Array.from({ length: condition.classes }, (_, i) => [String(i), String(i)]);
  const now = values[condition.name] ? String(values[condition.name][0]) : '';
  return labelled(title(condition), choice([['', 'any'], ...names], now, (value) => (
    set(values, condition.name, value === '' ? null : [Number(value)], onChange)
  )));
}

function sliderControl(spec, condition, values, onChange) {
  const count = condition.shape.reduce((product, n) => product * n, 1);
  const own = spec.actions?.condition === condition.name ? spec.actions.values : null;
  if (own) {
    const index = own.findIndex(({ value }) => String(value) === String(values[condition.name]));
    return labelled(title(condition), choice(
      [['', 'any'], ...own.map(({ name }, i) => [i, name])], index < 0 ? '' : index,
      (i) => set(values, condition.name, i === '' ? null : own[i].value.slice(), onChange),
    ));
  }
  const present = element('input', { type: 'checkbox', checked: condition.name in values });
  const numbers = values[condition.name] ?? Array(count).fill(0);
  const give = () => set(values, condition.name, present.checked ? numbers : null, onChange);
  present.addEventListener('change', give);
  const sliders = numbers.map((value, i) => slider({ min: -2, max: 2, step: 0.05, value }, (number) => {
    numbers[i] = number;
    present.checked = true;
    give();
  }));
  const legend = element('legend', {}, element('label', {}, present, ` ${title(condition)}`));
  return element('fieldset', {}, legend, ...sliders);
}
