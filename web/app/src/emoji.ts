// The emoji that are offered, each with its names for completion.
const list = `😀 grinning happy|😄 smile joy|😁 beam|😂 joy tears lol|🤣 rofl|😊 blush|🙂 slight smile|😉 wink|😍 heart eyes love|😘 kiss|😜 wink tongue|🤪 zany|🤗 hug|🤔 thinking hmm|🤨 raised eyebrow|😐 neutral|🙄 eye roll|😏 smirk|😴 sleeping|😷 mask|🤒 sick|🤯 mind blown|🥳 party face|😎 cool sunglasses|🤓 nerd|😕 confused|😟 worried|😮 wow open mouth|😳 flushed|🥺 pleading|😢 cry sad|😭 sob|😱 scream|😤 huff|😡 angry|🤬 swearing|😈 devil|💀 skull dead|🤖 robot|👻 ghost|👋 wave hello bye|👍 +1 thumbs up yes|👎 -1 thumbs down no|👌 ok|✌️ peace|🤞 fingers crossed|👏 clap|🙌 raised hands hooray|🙏 pray thanks please|💪 muscle strong|👀 eyes look|🫡 salute|🤝 handshake deal|🤷 shrug|🤦 facepalm|❤️ heart love|🧡 orange heart|💛 yellow heart|💚 green heart|💙 blue heart|💜 purple heart|💔 broken heart|✨ sparkles|⭐ star|🔥 fire lit|💥 boom|🎉 tada party hooray|🎊 confetti|🎈 balloon|🎂 cake birthday|🏆 trophy|🥇 first medal|🚀 rocket ship launch|✈️ plane|🚗 car|🌍 earth world|☀️ sun|🌙 moon|🌈 rainbow|☕ coffee|🍵 tea|🍺 beer|🍕 pizza|🍔 burger|🍎 apple|🍿 popcorn|🐛 bug|🐦 bird starling|🐱 cat|🐶 dog|🦊 fox|🦄 unicorn|🐧 penguin|🌱 seedling|🌵 cactus|✅ check done yes|❌ cross no|⚠️ warning|❓ question|❗ exclamation|💡 idea bulb|🔧 wrench fix|🔨 hammer|🔒 lock|🔑 key|📌 pin|📎 clip|📅 calendar|📈 chart up|📉 chart down|💻 laptop|📱 phone|🖥️ desktop|⌛ hourglass|⏰ alarm|🔔 bell|📣 megaphone|💬 speech|💯 hundred|🆗 ok button|➕ plus|♻️ recycle`;
export const emoji: { char: string; names: string[] }[] = list.split('|').map((line) => {
  const [char = '', ...names] = line.split(' ');
  return { char, names };
});

export function findEmoji(query: string, most = 8): { char: string; names: string[] }[] {
  const wanted = query.toLowerCase();
  const starts = emoji.filter((e) => e.names.some((n) => n.startsWith(wanted)));
  return [...starts, ...emoji.filter((e) => !starts.includes(e) && e.names.some((n) => n.includes(wanted)))].slice(0, most);
}
