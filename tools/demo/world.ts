import { shuffled } from '@pairwise/training';

/**
 * The world that the demo's model knows: 43 animals, plants, tools and villages each, with three facts about every one. The
 * facts are drawn from a fixed seed, so knowledge of the real world does not help to answer.
 */
const subjects = {
  animal:
    'otter fox badger hedgehog squirrel rabbit mole heron owl magpie robin sparrow crow raven duck goose swan goat sheep ' +
    'pony donkey cow pig hen cat dog mouse rat bat frog toad newt snail beetle bee moth spider deer wolf bear lynx hare weasel',
  plant:
    'apple pear plum cherry peach grape fig lemon lime melon quince raspberry gooseberry elderberry currant apricot mulberry ' +
    'medlar chestnut hazelnut almond potato turnip leek onion cabbage radish beetroot parsnip celery spinach lettuce cucumber ' +
    'tomato pumpkin marrow fennel garlic mint thyme sage parsley basil',
  tool:
    'hammer saw chisel rake spade hoe pitchfork scythe sickle axe ladder bucket barrel basket rope wheel wheelbarrow anvil ' +
    'shovel poker needle thimble loom spindle kettle ladle whisk sieve grater mortar candlestick lantern bell broom brush ' +
    'drum flute fiddle compass telescope key anchor sledge',
  village:
    'Oakford Ashby Elmwick Millbrook Stonebridge Fernhill Marshend Hazelmere Thornley Birchwood Redcliff Greenfield ' +
    'Coldwell Highmoor Lowmill Westgate Eastleigh Northbank Southbeck Silverdale Foxholt Otterburn Hawkstone Ravenglen ' +
    'Swanwick Crowhurst Larkhill Beechcroft Willowby Mosswell Heathcote Saltmarsh Sandhaven Seacombe Riverton Lakeside ' +
    'Winterfold Summerby Springhead Harvestow Honeybourne Applegarth Cherrygate',
} as const;

export type Kind = keyof typeof subjects;

/** What can be asked about a kind, each with its possible values in the form that follows "it is". */
const pools = {
  'animal/food':
    'walnuts, plum cake, barley, honey, clover, pea soup, rye bread, blackberries, carrots, mushrooms, cheese, biscuits',
  'animal/bed':
    'in the barn, under the bridge, in the mill, behind the bakery, in the orchard, by the pond, in the chapel, ' +
    'in the boathouse, under the stairs, in the attic, among the reeds, on the roof',
  'animal/collar': 'red, blue, green, yellow, white, black, grey, purple, orange, brown, pink, silver',
  'plant/colour': 'red, blue, green, yellow, white, black, grey, purple, orange, brown, pink, golden',
  'plant/month': 'January, February, March, April, May, June, July, August, September, October, November, December',
  'plant/dish': 'soup, jam, pie, pickle, tea, stew, syrup, salad, sauce, cake, pudding, broth',
  'tool/material': 'oak, iron, copper, brass, leather, glass, stone, clay, bone, tin, willow, horn',
  'tool/place':
    'in the kitchen, in the cellar, in the garden, in the stable, in the workshop, in the library, in the tower, ' +
    'in the hall, in the shed, in the laundry, on the landing, by the gate',
  'tool/day': 'Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday',
  'village/ware': 'pots, candles, gloves, ribbons, boots, clocks, kites, bricks, paper, hats, spoons, blankets',
  'village/weather': 'fog, rain, snow, wind, hail, sunshine, thunder, frost, drizzle, clouds, heat, mist',
  'village/way': 'by boat, on foot, by cart, by train, by bicycle, by bus, on skis, by tram, on horseback, by balloon',
} as const;

export type Relation = keyof typeof pools;
export const relations = Object.keys(pools) as Relation[];

/** A fact of the world. */
export interface Fact {
  relation: Relation;
  subject: string;
  value: string;
}

/** All possible values of a relation. */
export function valuesOf(relation: Relation): string[] {
  return pools[relation].split(', ');
}

/** All facts, always in the same order. Each value of a relation occurs about equally often. */
export function allFacts(): Fact[] {
  return relations.flatMap((relation) => {
    const names = subjects[relation.split('/')[0] as Kind].split(' ');
    const values = valuesOf(relation);
    const order = shuffled(names.length, 1, `world ${relation}`);
    return names.map((subject, index) => ({ relation, subject, value: values[order[index]! % values.length]! }));
  });
}
