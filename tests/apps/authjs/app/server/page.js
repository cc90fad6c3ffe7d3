import { auth } from "../../auth";

export default async function Page() {
  const session = await auth();
  if (!session) return <p id="status">Not signed in</p>;
  return <main><p id="status">{`Signed in as ${session.user.name}`}</p><pre id="session">{JSON.stringify(session)}</pre></main>;
}
