"use client";

// The browser client as it comes.
import { SessionProvider, signIn, signOut, useSession } from "next-auth/react";

function Panel() {
  const { data, status, update } = useSession();
  const enter = (password) => () => signIn("local", { username: "ada", password, redirect: false });
  return (
    <main>
      <p id="status">{status}</p>
      <p id="name">{data?.user?.name ?? ""}</p>
      <button onClick={enter("wrong")}>sign in wrongly</button>
      <button onClick={enter("correct horse")}>sign in</button>
      <button onClick={() => signIn()}>sign in elsewhere</button>
      <button onClick={() => update({ name: "Renamed" })}>update</button>
      <button onClick={() => signOut({ redirect: false })}>sign out</button>
    </main>
  );
}

export default function Client() {
  return <SessionProvider><Panel /></SessionProvider>;
}
