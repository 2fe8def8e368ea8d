import { isSayingVerb } from "./verbs.ts";

const title = String.raw`(?:(?:M|Mr|Mrs|Ms|Dr|Mme|Mlle|Prof|Capt|Rev|St)\s?\.\s+)`;
const name = String.raw`${title}?\p{Lu}[\p{L}'’-]+(?:\s+(?:(?:de|du|von|van|of|d['’])\s*)?\p{Lu}[\p{L}'’-]+){0,3}`;
const rank = String.raw`(?:(?:le|la|l['’]|the|my|his|her|mon|ma|son|sa|old|young|little|poor)\s*(?:\p{Ll}+\s+)?){0,2}`;
const verb = String.raw`(?<verb>\p{Ll}+(?:['’]\p{Ll}+)?)`;

/** said Jane · répondit le père Goriot is nobody we can name · Jane said · Jane softly said */
const verbThenName = new RegExp(
  String.raw`^[\s,—–―-]*(?:(?:lui|leur|me|se|nous|vous|en|y)\s+)?${verb}\s+${rank}(?<name>${name})`,
  "u",
);
const nameThenVerb = new RegExp(
  String.raw`^[\s,—–―-]*(?:and\s+|but\s+)?${rank}(?<name>${name})\s+(?:had\s+|then\s+|\p{Ll}+ly\s+)?${verb}`,
  "u",
);
const chinese =
  /(?:^|[。！？，；：”」』\s])(?<name>\p{Script=Han}{2,3}?)(?:[笑怒大又忙急再冷叫高应應喝声聲答][笑怒大声聲叫]?)?(?:[说說道问問曰]|[说說答问問]道)[：:，,]?$/u;

/** Capitalised, but no name. */
const notNames =
  /^(?:I|He|She|They|We|You|It|The|A|An|And|But|Then|There|This|That|These|Those|His|Her|My|Our|Their|Your|What|When|Who|So|Il|Elle|Ils|Elles|On|Je|Le|La|Les|Un|Une|Et|Mais|Puis|Er|Sie|Ich|Der|Die|Das|God|Here|Now|No|Yes|As|At|In|For|Nobody|Everybody|Somebody|Everyone|Someone|One|Another|Both|All|Some)(?=\s|$)/;

/** Who is named as saying the line between `before` and `after`, texts of the same paragraph. */
export function speakerNear(before: string, after: string): string | undefined {
  return namedAfter(after) ?? namedAtEnd(before);
}

/** A clause that ends in a colon belongs to the next line, and a sentence after a full stop to none. */
function namedAfter(after: string): string | undefined {
  return /^[^.!?"“«]*:/.test(after) || after.startsWith(". ") ? undefined : namedIn(after);
}

/** “…,” said Jane. “…,” Jane said. */
function namedIn(clause: string): string | undefined {
  const end = clause.search(/[.!?;:"“«”»]\s|["“«]/);
  const tag = end < 0 ? clause : clause.slice(0, titleSafe(clause, end));
  for (const pattern of [verbThenName, nameThenVerb]) {
    const { verb: said = "", name: who = "" } = pattern.exec(tag)?.groups ?? {};
    if (isSayingVerb(said) && !notNames.test(who)) return tidy(who);
  }
  return undefined;
}

/** Jane said softly, “…” */
function namedAtEnd(lead: string): string | undefined {
  const { name: han } = chinese.exec(lead)?.groups ?? {};
  if (han && !/[他她它我你您咱俺谁誰们們]/u.test(han)) return han;
  if (!/[,:]\s*$|\p{L}\s*$/u.test(lead)) return undefined;
  const clause = /[^.!?;"“”«»]*$/.exec(lead)?.[0] ?? "";
  return namedIn(clause.trimStart());
}

/** The stop after “Mr” ends no clause. */
function titleSafe(clause: string, end: number): number {
  return /(?:^|\s)(?:M|Mr|Mrs|Ms|Dr|St|Mme)\s?$/.test(clause.slice(0, end)) ? end + 40 : end;
}

function tidy(who: string): string {
  return who
    .replace(/\s+/g, " ")
    .replace(/ ?['’]s?$/, "")
    .replace(/ \./g, ".");
}
