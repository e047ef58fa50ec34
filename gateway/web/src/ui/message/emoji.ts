// The emoji that the picker offers: few, and those that people use.

export interface EmojiGroup {
  name: string;
  list: readonly (readonly [emoji: string, words: string])[];
}

/** One press away beside each message. */
export const QUICK = ['👍', '❤️', '😄'] as const;

export const GROUPS: readonly EmojiGroup[] = [
  {
    name: 'Answers',
    list: [
      ['👍', 'thumbs up yes'], ['👎', 'thumbs down no'], ['❤️', 'heart love'], ['😄', 'smile happy'], ['🎉', 'party celebrate'],
      ['🚀', 'rocket ship'], ['👀', 'eyes looking'], ['🙏', 'thanks please'], ['✅', 'done check'], ['❌', 'no cross'],
      ['💯', 'hundred'], ['🔥', 'fire'], ['👏', 'clap'], ['🙌', 'hands up praise'], ['🤝', 'handshake deal'], ['💪', 'strong'],
    ],
  },
  {
    name: 'Faces',
    list: [
      ['😂', 'laugh tears'], ['🤣', 'rolling laugh'], ['😊', 'blush'], ['😍', 'heart eyes'], ['😎', 'cool sunglasses'],
      ['🤔', 'thinking'], ['😅', 'sweat smile'], ['😉', 'wink'], ['🙂', 'slight smile'], ['😐', 'neutral'],
      ['😬', 'grimace'], ['😢', 'cry sad'], ['😭', 'sob'], ['😡', 'angry'], ['😱', 'scream shock'], ['🤯', 'mind blown'],
      ['🥳', 'party face'], ['😴', 'sleep'], ['🤷', 'shrug'], ['🤦', 'facepalm'], ['🫡', 'salute'], ['🫠', 'melting'],
      ['🤗', 'hug'], ['🤩', 'star eyes'],
    ],
  },
  {
    name: 'Things',
    list: [
      ['👋', 'wave hello'], ['👌', 'ok'], ['✌️', 'peace'], ['🤞', 'fingers crossed luck'], ['☕', 'coffee'], ['🍕', 'pizza'],
      ['🍰', 'cake'], ['🍺', 'beer'], ['🌱', 'seedling grow'], ['🌟', 'star'], ['⚡', 'fast lightning'], ['💡', 'idea bulb'],
      ['🐛', 'bug'], ['🔧', 'wrench fix'], ['📌', 'pin'], ['📈', 'chart up'], ['📉', 'chart down'], ['⏳', 'wait hourglass'],
      ['📅', 'calendar date'], ['🔒', 'lock'], ['⚠️', 'warning'], ['❓', 'question'], ['❗', 'important'], ['🏁', 'finish flag'],
    ],
  },
];
