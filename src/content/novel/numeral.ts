/** The source of a pattern for the numbers that headings carry: 12, XII, twelve, the twelfth, douze. */
export const numeral = `(?:\\d{1,4}|[IVXLCDM]+|${[
  "(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[ -](?:one|two|three|four|five|six|seven|eight|nine|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth))?",
  "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve",
  "(?:thir|four|fif|six|seven|eigh|nine)teen(?:th)?|(?:twent|thirt|fort|fift|sixt|sevent|eight|ninet)ieth|last",
  "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth",
  "premi(?:er|ère)|second[e]?|(?:deux|trois|quatr|cinqu|six|sept|huit|neuv|dix|onz|douz)ième|deux|trois|quatre|cinq|sept|huit|neuf|dix(?:-sept|-huit|-neuf)?|onze|douze|treize|quatorze|quinze|seize|vingt(?:[ -](?:et[ -])?(?:un|deux|trois|quatre|cinq|six|sept|huit|neuf))?",
  "eins|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf",
].join("|")})`;

/** The ordinals that stand before a heading's noun: the first part, première partie, erstes Kapitel. */
export const ordinal = `(?:\\d{1,3}\\.|${[
  "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last",
  "premi(?:er|ère)|second[e]?|(?:deux|trois|quatr|cinqu|six|sept|huit|neuv|dix)ième",
  "(?:ers|zwei|drit|vier|fünf|sechs|sieben|sieb|ach|neun|zehn|elf|zwölf|(?:drei|vier|fünf|sech|sieb|acht|neun)zehn|(?:[a-zäöüß]+und)?(?:zwan|drei|vier|fünf|sech|sieb|acht|neun)[zß]igs)te[rs]?|letzte[rs]?",
].join("|")})`;

/** The value of a Roman or Arabic number, undefined for anything else. */
export function numberOf(number: string): number | undefined {
  if (/^\d+$/.test(number)) return Number(number);
  return isRoman(number) ? romanValue(number) : undefined;
}

function isRoman(number: string): boolean {
  return number !== "" && /^M{0,3}(CM|CD|D?C{0,4})(XC|XL|L?X{0,4})(IX|IV|V?I{0,4})$/i.test(number);
}

const digits: Readonly<Record<string, number>> = { I: 1, V: 5, X: 10, L: 50, C: 100, D: 500, M: 1000 };

function romanValue(number: string): number {
  const values = Array.from(number.toUpperCase(), (letter) => digits[letter] ?? 0);
  return values.reduce((sum, value, at) => sum + (value < (values[at + 1] ?? 0) ? -value : value), 0);
}
