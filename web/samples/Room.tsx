import { StarlingProvider, useRoom, useStarling, type Starling } from '@starling/react';

function Room({ id }: { id: string }) {
  const store = useStarling();
  const room = useRoom(id);
  return (
    <section>
      <ol>{room?.messages.map((m) => <li key={m.id}><b>{m.sender.name}</b> {m.content}</li>)}</ol>
      <ol>{room?.pending.map((p) => <li key={p.clientMsgId}>{p.content} ({p.state})</li>)}</ol>
      <form action={(form: FormData) => { void store.send(id, String(form.get('text'))); }}>
        <input name="text" aria-label="Message" />
      </form>
    </section>
  );
}

export function Chat({ store }: { store: Starling }) {
  return <StarlingProvider store={store}><Room id="lobby" /></StarlingProvider>;
}
