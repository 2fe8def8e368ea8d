import type { Mood } from "./schema.ts";

/** A mood with a sign of its own. Nothing signals the neutral one: it is what is left. */
export type Felt = Exclude<Mood, "neutral">;

/** A sign of a mood and what it weighs: 1 for one that seldom means anything else, less for one that may. */
export type Cue = { readonly mood: Felt; readonly weight: number };

type Words = Readonly<Record<Felt, { readonly clear: string; readonly faint: string }>>;

/** Words in speech, as lemmas or as they stand; `word/POS` counts only as that part of speech. */
const spoken: Words = {
  joyful: {
    clear:
      "happy happily happiness joy joyful joyous delight delighted delightful overjoyed thrilled ecstatic glad gladly " +
      "wonderful marvelous marvellous splendid glorious hurrah hooray bravo celebrate congratulation " +
      "congratulations rejoice thankful grateful gratitude relieved blessed triumph yay",
    faint:
      "thanks thank great lovely beautiful excellent perfect amazing awesome fantastic brilliant fun enjoy " +
      "pleased pleasure pleasant best win welcome proud cheer relief excited exciting charming fortunate " +
      "luckily good/ADJ nice",
  },
  tender: {
    clear:
      "love darling sweetheart beloved dearest adore cherish embrace tenderly caress forgive forgiveness comfort " +
      "affection affectionate kiss",
    faint: "kind/ADJ gentle care/VERB heart hug dear/NOUN safe sweet/ADJ beautiful hush devoted precious",
  },
  playful: {
    clear:
      "haha hahaha ha hehe lol tease joke joking jest kidding prank rascal scamp mischief silly hilarious funny witty " +
      "giggle tickle banter",
    faint: "laugh laughing amuse amusing amused rogue bet/VERB dare/NOUN game clever",
  },
  hopeful: {
    clear: "hope hopeful hopefully someday dream/VERB faith courage optimistic",
    faint: "wish soon tomorrow yearn persevere strength future chance better luck",
  },
  sorrowful: {
    clear:
      "sad sadly sadness sorrow sorrowful grief grieve mourn weep weeping wept tear/NOUN heartbroken heartbreak " +
      "broken-hearted miserable misery wretched despair hopeless lonely loneliness regret ashamed unhappy " +
      "unhappiness depressed depressing alas goodbye farewell bury funeral tragic tragedy melancholy hurt/ADJ devastated",
    faint:
      "sorry cry alone lose lost dead die died death poor/ADJ pity suffer suffering unfortunate unfortunately " +
      "disappointed disappointing disappointment weary pain pained painful fail failed hurt/VERB guilt guilty shame",
  },
  hostile: {
    clear:
      "hate hatred despise detest loathe furious fury rage anger angry liar traitor coward scoundrel villain " +
      "wretch/NOUN fool idiot bastard damn damned curse cursed bitch fuck fucking shit disgust disgusting " +
      "disgusted contempt contemptible insolent insolence insult insulting impertinent impertinence vile " +
      "betray betrayed treachery revenge vengeance murderer thief stupid pathetic moron " +
      "scum swine brute outrage outrageous despicable odious abominable monstrous",
    faint:
      "kill destroy threaten enemy fight hell devil lie/NOUN lying blame accuse nasty awful horrible terrible " +
      "horrid worst ugly rude cruel selfish wicked shameful annoying annoyed annoy sick silence/VERB " +
      "begone trash garbage crap ass asshole gross dumb bad/ADJ wrong/ADJ",
  },
  tense: {
    clear:
      "suspicious suspicion suspect uneasy secretly beware hurry quickly quiet quietly " +
      "alibi warn warning evasive conspiracy spy",
    faint:
      "secret hide hiding careful stop/VERB trouble risk danger urgent worry worried doubt nervous quarrel " +
      "strange wary impatient embarrassed embarrassing awkward",
  },
  fearful: {
    clear:
      "afraid fear fearful frightened frighten frightening scared scare scary terrified terrify terror terrifying horror " +
      "dread dreadful panic nightmare mercy tremble trembling haunted haunt",
    faint:
      "danger dangerous monster ghost blood run/VERB escape alarm alarmed anxious anxiety nervous worried shiver " +
      "creepy spare/VERB beg",
  },
};

/** What is said in several words. They carry their own negation. */
const phrases: readonly (readonly [RegExp, Felt, number])[] = [
  [
    /\bthank (?:you|god|heavens?|goodness)\b|\bso glad\b|\bwhat (?:luck|joy|fun|news)\b|\bwell done\b/,
    "joyful",
    1,
  ],
  [/\bi(?: do)? love (?:you|him|her|them|thee)\b|\bmy (?:love|darling|dearest|sweet)\b/, "tender", 1.5],
  [
    /\b(?:there,? there|don't (?:cry|worry|be afraid)|i'm here|take care|you're safe|it's all right|hold me)\b/,
    "tender",
    1,
  ],
  [
    /\b(?:just|only) (?:teas|jok|kidd)ing\b|\bpull(?:ing)? (?:my|your) leg\b|\bha,? ha\b|\bi dare you\b/,
    "playful",
    1,
  ],
  [
    /\bone day\b|\bgood luck\b|\b(?:i|we) (?:trust|believe in) you\b|\bi promise\b|\bwe(?:'ll| will| can| shall) (?:make it|find|win|manage|see)\b|\bdon't give up\b|\blook(?:ing)? forward\b/,
    "hopeful",
    1,
  ],
  [
    /\bi(?:'m| am) (?:so |very |truly |really )?sorry\b|\bmy fault\b|\bif only\b|\btoo late\b/,
    "sorrowful",
    0.7,
  ],
  [/\bmiss(?:ed)? (?:you|him|her|them|home)\b|\bgone for ?ever\b/, "sorrowful", 1],
  [
    /\b(?:can't|cannot|can not|couldn't|could not) (?:bear|go on|forgive myself)\b|\bno hope\b|\bnever (?:see|come|forgive myself)\b/,
    "sorrowful",
    1,
  ],
  [
    /\bhow dare\b|(?<!(?:to|can|could|would) )\bshut up\b|(?<!(?:to|not|n't|can|could|never) )\bget (?:out|lost|away from me)\b|\bgo to (?:hell|the devil)\b|\bleave me alone\b/,
    "hostile",
    1.5,
  ],
  [
    /\b(?:you|you'll) (?:will )?(?:pay|regret|be sorry)\b|\bhold your tongue\b|\bout of my (?:sight|house|way)\b|\byou (?:lied|liar|monster|beast|wretch)\b/,
    "hostile",
    1,
  ],
  [
    /\bdon't (?:you )?(?:lie|touch|threaten|talk to me)\b|\bi(?:'ll| will) kill\b|\bi(?:'ve| have) had enough\b|\bsick of\b/,
    "hostile",
    1,
  ],
  [
    /\bwhat (?:are you (?:hiding|doing here)|do you mean|did you do|is going on)\b|\bwhere were you\b|\btell me the truth\b/,
    "tense",
    1,
  ],
  [
    /\bkeep your voice down\b|\bno time\b|\bsomeone's coming\b|\b(?:they're|he's|she's) (?:watching|listening)\b|\bnot (?:here|now)\b/,
    "tense",
    1,
  ],
  [
    /\bhelp (?:me|us)\b|\bdon't (?:hurt|kill|leave) (?:me|us|him|her)\b|\bdid you hear\b|\bthey(?:'re| are) coming\b/,
    "fearful",
    1.2,
  ],
  [
    /\b(?:good god|oh god|my god|heaven help|god help)\b|\bplease,? (?:no|don't)\b|\bwe're (?:going to|gonna|all going to) die\b/,
    "fearful",
    0.7,
  ],
];

/** Verbs, adverbs and gestures of the telling around a line. */
const told: Words = {
  joyful: {
    clear:
      "laughed laughing beamed beaming rejoiced joyfully happily delightedly cheerfully gaily merrily triumphantly",
    faint: "smiled smiling cheered brightly warmly gladly sang eagerly",
  },
  tender: {
    clear: "tenderly lovingly affectionately fondly caressed embraced kissed soothed",
    faint: "gently softly kindly murmured cooed consoled stroked hugged",
  },
  playful: {
    clear: "teased teasing joked grinned giggled chuckled playfully slyly mischievously winked archly",
    faint: "grinning giggling chuckling wryly quipped drily dryly laughingly",
  },
  hopeful: {
    clear: "hopefully encouragingly",
    faint: "eagerly earnestly promised assured resolutely wistfully",
  },
  sorrowful: {
    clear:
      "sobbed sobbing wept weeping wailed mournfully sadly sorrowfully miserably tearfully tears despairingly",
    faint: "sighed sighing moaned groaned wearily crying faltered bitterly gloomily",
  },
  hostile: {
    clear:
      "snarled growled sneered snapped barked roared spat hissed thundered bellowed raged angrily furiously coldly " +
      "savagely fiercely contemptuously scornfully angry",
    faint:
      "shouted yelled demanded retorted sharply bitterly harshly glared scowled sternly haughtily accused cursed",
  },
  tense: {
    clear: "warily uneasily suspiciously hesitantly tensely guardedly cautiously nervously hurriedly",
    faint: "whispered hissed hesitated interrupted stammered muttered urgently hastily insisted impatiently",
  },
  fearful: {
    clear:
      "trembling trembled shrieked screamed gasped fearfully whimpered pale terrified frightened quavered terror",
    faint: "begged pleaded implored stammered shivering shuddered anxiously nervously",
  },
};

const clearWeight = 1;
const faintWeight = 0.4;

/** What a spoken word signals: as it stands or by its lemma, with or without its part of speech. */
export function spokenCues(word: string, lemma: string, pos: string): readonly Cue[] {
  for (const key of [`${word}/${pos}`, word, `${lemma}/${pos}`, lemma]) {
    const cues = spokenTable.get(key);
    if (cues) return cues;
  }
  return [];
}

/** What the phrases of a sentence signal. */
export function phraseCues(sentence: string): readonly Cue[] {
  const plain = sentence.toLowerCase().replace(/[’‘]/g, "'");
  return phrases.flatMap(([phrase, mood, weight]) => (phrase.test(plain) ? { mood, weight } : []));
}

/** What the telling around a line signals. */
export function toldCues(telling: string): readonly Cue[] {
  const words = telling.toLowerCase().match(/\p{L}+/gu) ?? [];
  return words.flatMap((word) => toldTable.get(word) ?? []);
}

const spokenTable = table(spoken);
const toldTable = table(told);

function table(words: Words): ReadonlyMap<string, readonly Cue[]> {
  const cues = new Map<string, Cue[]>();
  for (const [mood, { clear, faint }] of Object.entries(words) as [Felt, Words[Felt]][]) {
    for (const word of clear.split(" ")) push(cues, word, { mood, weight: clearWeight });
    for (const word of faint.split(" ")) push(cues, word, { mood, weight: faintWeight });
  }
  return cues;
}

function push(cues: Map<string, Cue[]>, word: string, cue: Cue): void {
  cues.set(word, [...(cues.get(word) ?? []), cue]);
}
