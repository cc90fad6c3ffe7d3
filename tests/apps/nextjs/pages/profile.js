import { getServerSession } from "next-auth/next";
import { authOptions } from "../lib/auth";

export async function getServerSideProps(context) {
  const session = await getServerSession(context.req, context.res, authOptions);
  if (!session) return { redirect: { destination: "/api/auth/signin?callbackUrl=/profile", permanent: false } };
  return { props: { session: JSON.parse(JSON.stringify(session)) } };
}

export default function Profile({ session }) {
  return (
    <main>
      <h1 id="name">{session.user.name}</h1>
      <p id="email">{session.user.email}</p>
      <ul>{(session.user.roles ?? []).map((role) => <li key={role}>{role}</li>)}</ul>
    </main>
  );
}
