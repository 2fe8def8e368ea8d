import { type Category, categories } from "./schema.ts";

/**
 * The trait words that the rules know. The first adjective names the group; the others are the same trait to a
 * reader. `people` are what somebody is ("a coward"), `qualities` what somebody has ("her courage"). States that pass
 * within a scene (angry, sad, tired, afraid) are left out on purpose: they are moods, not traits.
 */
type Group = { readonly adjectives: string; readonly people?: string; readonly qualities?: string };

const groups: Readonly<Record<Category, readonly Group[]>> = {
  courage: [
    {
      adjectives:
        "brave courageous valiant gallant heroic plucky intrepid dauntless stout-hearted lion-hearted",
      qualities: "bravery courage valour valor gallantry heroism",
    },
    { adjectives: "fearless unafraid undaunted", qualities: "fearlessness" },
    {
      adjectives: "bold daring audacious adventurous",
      people: "daredevil",
      qualities: "boldness daring audacity",
    },
    {
      adjectives: "reckless rash foolhardy impetuous impulsive headstrong heedless hot-headed hotheaded",
      people: "hothead",
      qualities: "recklessness rashness impulsiveness impetuosity",
    },
    {
      adjectives: "cowardly craven lily-livered faint-hearted spineless",
      people: "coward",
      qualities: "cowardice",
    },
    { adjectives: "timid timorous meek mousy", qualities: "timidity meekness" },
    { adjectives: "cautious careful wary prudent circumspect", qualities: "prudence wariness" },
  ],
  kindness: [
    {
      adjectives:
        "kind kind-hearted kindhearted good-hearted warm-hearted benevolent good-natured goodhearted",
      qualities: "kindness benevolence",
    },
    { adjectives: "gentle tender tender-hearted soft-hearted", qualities: "gentleness tenderness" },
    {
      adjectives: "generous charitable unselfish selfless open-handed magnanimous",
      qualities: "generosity selflessness magnanimity",
    },
    { adjectives: "compassionate merciful sympathetic humane", qualities: "compassion" },
    { adjectives: "affectionate", qualities: "affectionateness" },
    { adjectives: "considerate thoughtful attentive", qualities: "thoughtfulness considerateness" },
    { adjectives: "forgiving lenient", qualities: "leniency" },
    {
      adjectives: "cruel merciless ruthless heartless pitiless brutal sadistic cold-hearted unkind callous",
      people: "sadist",
      qualities: "cruelty ruthlessness brutality callousness heartlessness",
    },
    {
      adjectives: "wicked evil malicious spiteful vindictive vengeful malevolent villainous",
      people: "scoundrel",
      qualities: "malice spite wickedness vindictiveness villainy",
    },
    {
      adjectives: "selfish self-centred self-centered egotistical",
      people: "egoist egotist",
      qualities: "selfishness egotism",
    },
  ],
  honesty: [
    {
      adjectives: "honest truthful sincere candid frank upright straightforward",
      qualities: "honesty truthfulness sincerity candour candor uprightness",
    },
    {
      adjectives: "honourable honorable noble-hearted principled virtuous high-minded",
      qualities: "integrity honourableness",
    },
    { adjectives: "fair-minded impartial even-handed", qualities: "fairness impartiality" },
    {
      adjectives: "loyal faithful devoted steadfast true-hearted",
      qualities: "loyalty faithfulness steadfastness",
    },
    { adjectives: "trustworthy dependable reliable", qualities: "trustworthiness reliability" },
    {
      adjectives: "dishonest deceitful untruthful two-faced insincere mendacious",
      people: "liar cheat fraud",
      qualities: "dishonesty deceitfulness insincerity mendacity",
    },
    {
      adjectives: "treacherous disloyal faithless perfidious unfaithful",
      people: "traitor turncoat",
      qualities: "treachery disloyalty perfidy",
    },
    {
      adjectives: "sly cunning crafty wily devious conniving",
      people: "schemer",
      qualities: "slyness cunning craftiness deviousness guile",
    },
    { adjectives: "hypocritical sanctimonious", people: "hypocrite", qualities: "hypocrisy" },
    { adjectives: "unscrupulous corrupt unprincipled", qualities: "unscrupulousness" },
  ],
  will: [
    {
      adjectives:
        "stubborn obstinate pig-headed pigheaded mulish bull-headed unyielding inflexible wilful willful",
      qualities: "stubbornness obstinacy wilfulness willfulness",
    },
    {
      adjectives: "determined resolute strong-willed single-minded tenacious persistent dogged unwavering",
      qualities: "determination tenacity persistence perseverance doggedness",
    },
    { adjectives: "patient long-suffering forbearing", qualities: "forbearance" },
    { adjectives: "impatient", qualities: "impatience" },
    { adjectives: "ambitious", people: "go-getter", qualities: "ambition ambitiousness" },
    {
      adjectives: "hard-working hardworking industrious diligent conscientious assiduous",
      qualities: "diligence industriousness conscientiousness",
    },
    {
      adjectives: "lazy indolent slothful work-shy",
      people: "idler sluggard layabout",
      qualities: "laziness indolence idleness",
    },
    { adjectives: "independent self-reliant self-sufficient", qualities: "independence self-reliance" },
    {
      adjectives: "rebellious defiant unruly disobedient",
      qualities: "rebelliousness defiance disobedience",
    },
    {
      adjectives: "obedient dutiful biddable docile submissive",
      qualities: "obedience docility dutifulness",
    },
    { adjectives: "disciplined self-disciplined", qualities: "self-discipline self-control" },
    { adjectives: "indecisive irresolute weak-willed", qualities: "indecision indecisiveness" },
    {
      adjectives: "meticulous methodical scrupulous precise fastidious thorough punctilious",
      people: "perfectionist pedant",
      qualities: "meticulousness thoroughness fastidiousness",
    },
    { adjectives: "careless slovenly sloppy negligent", qualities: "carelessness negligence" },
  ],
  mind: [
    {
      adjectives: "clever intelligent brilliant quick-witted sharp-witted astute shrewd keen-witted",
      people: "genius",
      qualities: "cleverness intelligence brilliance shrewdness astuteness",
    },
    {
      adjectives: "wise sagacious level-headed sensible judicious",
      qualities: "wisdom sagacity level-headedness",
    },
    { adjectives: "curious inquisitive", qualities: "inquisitiveness" },
    { adjectives: "nosy nosey meddlesome", people: "busybody meddler", qualities: "nosiness" },
    {
      adjectives: "imaginative creative inventive ingenious",
      qualities: "creativity inventiveness ingenuity",
    },
    { adjectives: "resourceful", qualities: "resourcefulness" },
    {
      adjectives: "learned scholarly erudite well-read studious",
      people: "bookworm",
      qualities: "erudition",
    },
    { adjectives: "witty droll", qualities: "wittiness" },
    {
      adjectives: "foolish silly stupid dim-witted dull-witted simple-minded",
      people: "fool simpleton blockhead",
      qualities: "foolishness folly stupidity silliness",
    },
    { adjectives: "naive naïve gullible credulous", qualities: "naivety naïveté gullibility credulity" },
    {
      adjectives: "absent-minded absentminded forgetful scatterbrained",
      qualities: "absent-mindedness forgetfulness",
    },
    { adjectives: "practical pragmatic", people: "pragmatist", qualities: "practicality pragmatism" },
    { adjectives: "idealistic romantic", people: "dreamer idealist", qualities: "idealism" },
    {
      adjectives: "sceptical skeptical cynical",
      people: "sceptic skeptic cynic",
      qualities: "scepticism skepticism cynicism",
    },
    { adjectives: "superstitious", qualities: "superstitiousness" },
    { adjectives: "observant perceptive", qualities: "perceptiveness" },
  ],
  temper: [
    {
      adjectives: "hot-tempered bad-tempered ill-tempered short-tempered quick-tempered irascible irritable",
      qualities: "irascibility irritability",
    },
    {
      adjectives: "grumpy grouchy crotchety surly cantankerous crabby gruff curmudgeonly",
      people: "grouch curmudgeon",
      qualities: "grumpiness surliness gruffness",
    },
    {
      adjectives: "even-tempered placid unflappable equable mild-mannered easygoing easy-going",
      qualities: "equanimity",
    },
    {
      adjectives: "cheerful jolly merry jovial sunny good-humoured good-humored light-hearted",
      qualities: "cheerfulness jollity",
    },
    {
      adjectives: "gloomy melancholy morose pessimistic dour",
      people: "pessimist",
      qualities: "gloominess pessimism moroseness",
    },
    { adjectives: "optimistic", people: "optimist", qualities: "optimism" },
    {
      adjectives: "moody temperamental capricious fickle mercurial",
      qualities: "moodiness capriciousness fickleness",
    },
    { adjectives: "stoic stoical", people: "stoic", qualities: "stoicism" },
    { adjectives: "sensitive thin-skinned touchy", qualities: "touchiness" },
    { adjectives: "passionate ardent", qualities: "ardour ardor" },
    { adjectives: "violent" },
    {
      adjectives: "stern strict austere",
      people: "disciplinarian martinet",
      qualities: "sternness severity austerity",
    },
    { adjectives: "eccentric quirky", people: "eccentric", qualities: "eccentricity" },
  ],
  pride: [
    { adjectives: "proud prideful", qualities: "pride" },
    {
      adjectives: "arrogant haughty conceited supercilious overbearing imperious self-important pompous",
      qualities: "arrogance haughtiness conceit pomposity self-importance",
    },
    { adjectives: "vain", qualities: "vanity" },
    { adjectives: "boastful", people: "boaster braggart", qualities: "boastfulness" },
    { adjectives: "snobbish stuck-up", people: "snob", qualities: "snobbery snobbishness" },
    { adjectives: "humble modest unassuming self-effacing", qualities: "humility modesty" },
    {
      adjectives: "confident self-assured self-confident assertive",
      qualities: "self-confidence self-assurance",
    },
    { adjectives: "dignified", qualities: "dignity" },
  ],
  company: [
    { adjectives: "shy bashful diffident", qualities: "shyness bashfulness diffidence" },
    {
      adjectives: "reserved reticent taciturn aloof withdrawn",
      people: "introvert",
      qualities: "reticence aloofness taciturnity",
    },
    { adjectives: "solitary reclusive unsociable", people: "loner recluse", qualities: "reclusiveness" },
    {
      adjectives: "friendly sociable amiable affable outgoing gregarious convivial genial companionable",
      people: "extrovert",
      qualities: "friendliness amiability affability geniality",
    },
    { adjectives: "charming charismatic", people: "charmer", qualities: "charm charisma" },
    {
      adjectives: "polite courteous well-mannered gracious chivalrous",
      qualities: "politeness courtesy civility graciousness chivalry",
    },
    {
      adjectives: "rude impolite ill-mannered discourteous insolent impertinent impudent",
      people: "boor",
      qualities: "rudeness insolence impudence impertinence",
    },
    {
      adjectives: "talkative garrulous chatty loquacious",
      people: "chatterbox gossip",
      qualities: "talkativeness garrulity loquacity",
    },
    { adjectives: "blunt outspoken forthright", qualities: "bluntness outspokenness forthrightness" },
    { adjectives: "secretive furtive", qualities: "secretiveness" },
    { adjectives: "suspicious mistrustful distrustful", qualities: "suspiciousness mistrust" },
    { adjectives: "unsuspecting", qualities: "trustfulness" },
    {
      adjectives: "quarrelsome argumentative combative belligerent",
      people: "bully",
      qualities: "quarrelsomeness belligerence",
    },
    { adjectives: "manipulative", people: "manipulator", qualities: "manipulativeness" },
    { adjectives: "domineering bossy tyrannical", qualities: "bossiness" },
    {
      adjectives: "playful mischievous impish",
      people: "prankster trickster rascal scamp",
      qualities: "playfulness mischievousness",
    },
    { adjectives: "sarcastic sardonic caustic", qualities: "sarcasm" },
    { adjectives: "protective", qualities: "protectiveness" },
  ],
  desire: [
    {
      adjectives: "greedy avaricious covetous acquisitive rapacious",
      qualities: "greed avarice rapacity covetousness",
    },
    {
      adjectives: "miserly stingy mean-spirited tight-fisted parsimonious",
      people: "miser skinflint",
      qualities: "stinginess miserliness parsimony",
    },
    { adjectives: "frugal thrifty", qualities: "frugality thrift" },
    { adjectives: "extravagant wasteful", people: "spendthrift", qualities: "extravagance" },
    { adjectives: "envious jealous", qualities: "envy jealousy" },
    { adjectives: "gluttonous", people: "glutton", qualities: "gluttony" },
    { adjectives: "pious devout god-fearing", qualities: "piety devoutness" },
    { adjectives: "power-hungry" },
    { adjectives: "unambitious", qualities: "contentment" },
  ],
};

type Role = keyof Group;

/** What a trait word stands for: the adjective to call the trait, the group that is one trait, and its category. */
export type Entry = { readonly trait: string; readonly group: string; readonly category: Category };

const roles = ["adjectives", "people", "qualities"] as const satisfies readonly Role[];
const entries: ReadonlyMap<string, Entry> = new Map(categories.flatMap((category) => entriesIn(category)));

/** The trait that a word in lower case stands for in that role: "stoic" is an adjective, and "a stoic" a person. */
export function traitWord(role: Role, word: string): Entry | undefined {
  return entries.get(`${role} ${word}`);
}

/** The entry of a trait in any of its forms: "Courage" is called "brave". Undefined where unknown. */
export function entryOf(trait: string): Entry | undefined {
  const word = trait.trim().toLowerCase().replace(/\s+/g, "-");
  return traitWord("adjectives", word) ?? traitWord("qualities", word) ?? traitWord("people", word);
}

/** What makes "courageous" and "brave" one trait; an unknown one is a group of its own. */
export function groupOf(trait: string): string {
  return entryOf(trait)?.group ?? trait;
}

function entriesIn(category: Category): readonly (readonly [key: string, Entry])[] {
  return groups[category].flatMap((group) => {
    const first = wordsOf(group.adjectives)[0] ?? "";
    return roles.flatMap((role) =>
      wordsOf(group[role]).map((word): [string, Entry] => [
        `${role} ${word}`,
        { trait: role === "adjectives" ? word : first, group: first, category },
      ]),
    );
  });
}

function wordsOf(list = ""): readonly string[] {
  return list.split(" ").filter(Boolean);
}
