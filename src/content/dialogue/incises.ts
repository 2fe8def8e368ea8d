import { isSayingVerb } from "./verbs.ts";

/** A stretch of text by offsets, end exclusive. */
export type Stretch = { readonly start: number; readonly end: number };

const boundary = /[,!?….;]["»”]?\s+|[—–―]\s*|--\s*/g;
const clitics = /^(?:(?:lui|leur|me|m|se|s|y|en|nous|vous|le|la)(?:\s+|['’]))*/u;
const subject =
  /^(?:-t)?-(?:il|elle|on|ils|elles|je|nous)\b|^\s+(?:le|la|les|l['’]|une?|mon|ma|mes|son|sa|ses|notre|nos|leurs?|cette?|ces|celui|celle|quelqu|the|an?|his|her|my|he|she|I|they|él|ella|el|\p{Lu})/u;
const pronounFirst = /^(?:he|she|they|I|we|the\s+\p{L}+|\p{Lu}\p{L}+(?:\s+\p{Lu}\p{L}+)?)\s+(\p{Ll}+)/u;

/** How an incise goes on after a comma: “dit-il en riant, la main levée, …”. */
const goesOn =
  /^(?:d['’]|(?:en|avec|sans|de|du|tout|toute|tandis|pendant|après|avant|comme|les|la|le|qui|dont|et|puis|mais|à|au|aux|sur|dans|with|without|in|as|while|and|his|her|turning|looking|who|\p{Ll}+ant|\p{Ll}+ing|\p{Ll}+ly)(?![\p{L}]))/u;

const personal =
  /(?<![\p{L}])(?:je|j['’]|tu|t['’]|vous|nous|me|te|moi|toi|mon|ma|mes|ton|ta|tes|votre|vos|notre|nos|I|you|my|your|me|we|our|us)(?![\p{L}])/iu;
const who = String.raw`(?:Il|Elle|Ils|Elles|On|He|She|They|(?:Le|La|Les|L['’]|Un|Une|Son|Sa|Ses|The|His|Her)\s*\p{L}+|\p{Lu}\p{Ll}+)`;
const whom = String.raw`(?:(?:se|s['’]|lui|leur|le|la|les|l['’]|en|y|ne|n['’])\s*)*`;
/** What one tells of, not what one says: the passé simple (and no future in -ra), the English past. */
const past = String.raw`(?:\p{Ll}+(?:(?<!er|ir|dr|vr|rr|aur)a|(?<!a)it|ut|int|èrent|irent|urent|ed)|was|were|had|went|came|took|stood|sat|rose)`;
const story = new RegExp(
  String.raw`^(?:(?:Et|Puis|Alors|And|Then)\s+)?${who}\s+${whom}${past}(?!\p{L})`,
  "u",
);

/** Whether a sentence tells the story rather than being said in it: past tense, nobody addressed. */
export function narrates(sentence: string): boolean {
  return story.test(sentence) && !personal.test(sentence) && !/[?!]/.test(sentence);
}

/** The parts of `stretch` that are said, without the incises that tell who says them (“— Oui, dit-il, je viens.”). */
export function withoutIncises(text: string, stretch: Stretch): Stretch[] {
  const inner = text.slice(stretch.start, stretch.end);
  const parts: Stretch[] = [];
  let from = 0;
  boundary.lastIndex = 0;
  for (let found = boundary.exec(inner); found; found = boundary.exec(inner)) {
    const start = found.index + found[0].length;
    if (!startsIncise(inner.slice(start, start + 60))) continue;
    parts.push({ start: from, end: found.index + found[0].trimEnd().replace(/\s*(?:[—–―]|--)$/, "").length });
    from = resumes(inner, start);
    boundary.lastIndex = Math.max(from, start);
  }
  parts.push({ start: from, end: inner.length });
  return parts
    .map((part) => trimmed(text, stretch.start + part.start, stretch.start + part.end))
    .filter(({ start, end }) => /\p{L}/u.test(text.slice(start, end)));
}

function startsIncise(clause: string): boolean {
  const bare = clause.replace(clitics, "");
  const [verb = ""] = /^\p{Ll}+/u.exec(bare) ?? [];
  if (/^\p{Ll}{3,}(?<!er|ir|dr|vr|rr|aur)a-t-(?:il|elle|on)(?!\p{L})/u.test(bare)) return true;
  if (isSayingVerb(verb)) return subject.test(bare.slice(verb.length));
  const second = pronounFirst.exec(clause)?.[1];
  return second !== undefined && isSayingVerb(second);
}

/** Where speech goes on after the incise that starts at `start`, or the end where it does not. */
function resumes(inner: string, start: number): number {
  const stops = /[,;]\s+|[.!?…:]["»”]?(?:\s+|$)|[—–―][,.;]?\s*/g;
  stops.lastIndex = start;
  for (let stop = stops.exec(inner); stop; stop = stops.exec(inner)) {
    const next = stop.index + stop[0].length;
    const after = inner.slice(next, next + 200);
    if (/^[,;]/.test(stop[0]) && goesOn.test(after)) continue;
    if (/^[.!?…]/.test(stop[0]) && narrates(/^[^.!?…]*[.!?…]?/.exec(after)?.[0] ?? "")) return inner.length;
    return next;
  }
  return inner.length;
}

function trimmed(text: string, start: number, end: number): Stretch {
  const part = text.slice(start, end);
  return { start: start + part.length - part.trimStart().length, end: start + part.trimEnd().length };
}
