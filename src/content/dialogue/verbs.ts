/** Verbs of saying, in the forms that stand beside a quoted line: past and present, third and first person. */
const english = `
  said says say saying ask asks asked asking reply replies replied answer answers answered cry cries cried crying
  exclaim exclaims exclaimed add adds added shout shouts shouted shouting whisper whispers whispered murmur
  murmurs murmured mutter mutters muttered return returned continue continues continued observe observed remark
  remarked repeat repeats repeated repeating begin began declare declared demand demands demanded inquire
  inquired enquire enquired interrupt interrupted laughed sigh sighed growl growled grumble grumbled gasp gasped
  sob sobbed groan groaned snap snapped suggest suggested agree agreed admit admitted announce announced explain
  explains explained insist insisted protest protested respond responded retort retorted rejoin rejoined roar
  roared scream screamed shriek shrieked stammer stammered think thinks thought urge urged yell yelled ejaculated
  commented conclude concluded confess confessed corrected echo echoed faltered hiss hissed implored interposed
  moaned mumbled objected ordered pleaded prompted pursued quoth reminded resumed sang sings singing snarled sneered
  stated stuttered thundered vowed wailed warned wondered croaked chuckled bellowed barked breathed begged assured
  advised bawled blurted drawled giggled grunted pronounced queried sniffed snorted squeaked volunteered proceeded
  persisted ventured panted entreated apologized apologised remonstrated reflected assented intoned chanted
  soliloquized soliloquised apostrophized`;

const french = `
  dit dis dirent disait disaient disant dire fit fis firent demanda demandai demandèrent demande demandait
  répondit répondis répondirent répond répondait répondant répliqua répliquai réplique répliquait reprit repris
  reprend reprenait continua continuai continue poursuivit poursuit ajouta ajoutai ajoute ajoutait ajoutant
  écria écriai écrièrent écrie écriait exclama exclame murmura murmurai murmure murmurait murmurèrent cria criai
  crie criait crièrent criant hurla hurle soupira soupire balbutia balbutie bégaya gronda gémit grommela grogna
  interrompit interrompt observa remarqua déclara déclare annonça affirma avoua assura conclut pensa pense songea
  répéta répète répétait insista protesta objecta riposta rétorqua lança souffla chuchota supplia implora ordonna
  commanda appela expliqua explique raconta commença commence acheva proposa suggéra admit ricana sourit rit
  sanglota bredouilla marmonna interrogea questionna acquiesça approuva trancha prononça hasarda rugit tonna
  s'enquit enquit informa prévint intervint articula glapit geignit plaisanta railla maugréa bougonna gloussa
  vociféra chanta fredonna`;

const german = `
  sagte sagten sagt sagte rief riefen ruft fragte fragten fragt antwortete antworteten antwortet sprach sprachen
  spricht erwiderte erwidert entgegnete entgegnet flüsterte flüstert murmelte schrie schrien schreit meinte meint
  versetzte fügte begann begann fuhr bemerkte erklärte seufzte stammelte brummte dachte wiederholte unterbrach
  lachte lächelte stöhnte bat befahl gestand keuchte zischte knurrte jubelte`;

const spanish = `
  dijo dijeron dice decía preguntó pregunta respondió responde contestó exclamó gritó añadió murmuró repuso replicó
  susurró insistió continuó prosiguió interrumpió repitió pensó explicó ordenó suspiró balbuceó`;

const verbs = new Set(`${english} ${french} ${german} ${spanish}`.split(/\s+/).filter(Boolean));

const apostrophes = /^\p{L}{1,2}['’]/u;

/** Whether `word` is a verb of saying. Elided pronouns may lead it: s’écria. */
export function isSayingVerb(word: string): boolean {
  const plain = word.toLowerCase();
  return verbs.has(plain) || verbs.has(plain.replace(apostrophes, ""));
}

/** The words of `text`; hyphens part them, so that dit-il is two. */
export function wordsOf(text: string): string[] {
  return text.match(/\p{L}+(?:['’]\p{L}+)*/gu) ?? [];
}

/** Whether any word of `text` is a verb of saying. */
export function tellsOfSaying(text: string): boolean {
  return /[道说說曰问問叫喊答]/u.test(text) || wordsOf(text).some(isSayingVerb);
}
